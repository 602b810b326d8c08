"""What is downloaded, and what is installed on Windows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bench.report import Figure, Size
from tests.support.places import ROOT

BASELINE = ""


def run(size: Size) -> list[Figure]:
    found = {"the client's own sources": _mb((ROOT / "agent").rglob("*.py"))}
    if not size.short:
        from tests.support.windows_product import built

        product = built().product
        found["setup program"] = _mb([product.setup])
        found["MSI"] = _mb([product.msi])
        found["installed"] = _mb(product.onedir.rglob("*"))
        found["of it the client and Python libraries, packed"] = _mb(product.onedir.glob("*.exe"))
    return [Figure(what=what, unit="MB", values=[each]) for what, each in found.items()]


def _mb(paths: Iterable[Path]) -> float:
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6
