"""What is installed, and what is downloaded.

The parts of the installed program, and the two packages around it. The short form looks at the
client's own sources only: building the program takes minutes.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bench.report import Figure, Size
from tests.support.places import ROOT

PARTS = {
    "Python and its library": ("python3*.dll", "base_library.zip", "*.pyd", "VCRUNTIME*.dll"),
    "OpenSSL": ("libcrypto*.dll", "libssl*.dll"),
    "Tcl/Tk": ("tcl*.dll", "tk*.dll", "_tcl_data", "_tk_data"),
    "pictures": ("assets",),
}
"""By the names below the program's `_internal`; the rest is other libraries' binary parts."""


def run(size: Size) -> list[Figure]:
    """Build, unless that has been done, and look."""
    sources = _mb((ROOT / "agent").rglob("*.py"))
    figures = [Figure(what="the client's own sources", value=sources, unit="MB")]
    if size.short:
        return figures
    from tests.support.windows_product import built

    product = built().product
    internal = product.onedir / "_internal"
    installed = _mb(product.onedir.rglob("*"))
    figures += [
        Figure(what="installed", value=installed, unit="MB", headline=True),
        Figure(what="setup program", value=_mb([product.setup]), unit="MB", headline=True),
        Figure(what="MSI", value=_mb([product.msi]), unit="MB"),
        Figure(
            what="of it the client and Python libraries, packed, with the loader",
            value=_mb(product.onedir.glob("*.exe")),
            unit="MB",
        ),
    ]
    rest = installed - figures[-1].value
    for what, patterns in PARTS.items():
        taken = sum(_mb(_below(path)) for each in patterns for path in internal.glob(each))
        figures.append(Figure(what=f"of it {what}", value=taken, unit="MB"))
        rest -= taken
    return [*figures, Figure(what="of it the rest", value=rest, unit="MB")]


def _below(path: Path) -> list[Path]:
    return list(path.rglob("*")) if path.is_dir() else [path]


def _mb(paths: Iterable[Path]) -> float:
    files = [path for path in paths if path.is_file()]
    return float(sum(path.stat().st_size for path in files)) / 1e6
