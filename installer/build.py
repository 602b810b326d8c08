"""Build everything that users get, in `dist/`: `python -m installer.build`.

    coconowork-client-VERSION-setup.exe   the setup program
    coconowork-client-VERSION.msi         the same for management tools
    coconowork-client-VERSION.cdx.json    the bill of materials: a list of its contents
    coconowork-client/                    the program itself
    policies/                             group policy templates
    winget/                               manifests for winget
    deployment.md                         commands and detection rules for Intune and group policy
    SHA256SUMS

`--frozen FOLDER` packs a program that `installer.native` has built on Windows, as a release does.
`--twice` builds again in another folder and fails when a file differs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from installer import NAME, BuildError
from installer.deployment import write_deployment
from installer.freeze import freeze, source_date
from installer.guard import NAME as GUARD
from installer.package import make_msi, make_setup, program_version
from installer.sbom import bill_of_materials
from installer.sign import sign
from installer.winpy.assemble import BUILD, ROOT, assemble, standard_library_note

PROGRAMS = (f"{NAME}.exe", f"{NAME}.com", GUARD)
POLICIES = ROOT / "installer" / "policies"
_TOOLS = (
    "wine", "x86_64-w64-mingw32-gcc", "makensis", "wixl", "msiinfo", "osslsigncode", "openssl",
)  # fmt: skip


@dataclass(frozen=True)
class Product:
    """One build: a folder with the files that the module's docstring lists."""

    folder: Path
    version: str

    @property
    def onedir(self) -> Path:
        return self.folder / NAME

    @property
    def setup(self) -> Path:
        return self.folder / f"{NAME}-{self.version}-setup.exe"

    @property
    def msi(self) -> Path:
        return self.folder / f"{NAME}-{self.version}.msi"

    @property
    def sbom(self) -> Path:
        return self.folder / f"{NAME}-{self.version}.cdx.json"

    def hashes(self) -> set[tuple[str, str]]:
        """Return the name and the SHA-256 of every file but `SHA256SUMS`."""
        return {
            (path.relative_to(self.folder).as_posix(), sha256(path.read_bytes()).hexdigest())
            for path in self.folder.rglob("*")
            if path.is_file() and path.name != "SHA256SUMS"
        }


def require_tools(*more: str) -> None:
    """Raise BuildError when a program for the build, or a program in `more`, is not installed."""
    if missing := [tool for tool in (*_TOOLS, *more) if shutil.which(tool) is None]:
        raise BuildError(f"Not on this machine: {', '.join(missing)} (.ci/packages windows)")


def build(folder: Path, work: Path, frozen: Path | None = None) -> Product:
    """Build everything in `folder`, which is emptied first. Raise BuildError.

    `frozen` is the folder of a program that was built before; else the program is built in `work`.
    """
    require_tools()
    product = Product(folder, program_version())
    frozen = frozen or freeze(work)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(frozen, product.onedir)
    for program in PROGRAMS:
        sign(product.onedir / program)
    for path in product.onedir.rglob("*"):
        os.utime(path, (source_date(), source_date()))
    make_setup(product.onedir, product.version, product.setup)
    make_msi(product.onedir, product.version, product.msi)
    bill = bill_of_materials(
        version=product.version,
        onedir=product.onedir,
        site_packages=assemble() / "Lib" / "site-packages",
        source_date=source_date(),
    )
    product.sbom.write_text(json.dumps(bill, indent=1) + "\n", encoding="utf-8")
    shutil.copytree(POLICIES, folder / "policies")
    write_deployment(folder, product.version, product.setup, product.msi)
    sums = [f"{digest}  {name}\n" for name, digest in sorted(product.hashes())]
    (folder / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    return product


def main() -> int:
    """Build, and return exit status 1 when the build failed or was not repeatable."""
    parser = argparse.ArgumentParser(prog="python -m installer.build", description=__doc__)
    parser.add_argument("--frozen", type=Path, metavar="FOLDER", help="pack this program")
    parser.add_argument("--twice", action="store_true", help="build twice and compare")
    options = parser.parse_args()
    started = time.monotonic()
    try:
        product = build(ROOT / "dist", BUILD / "freeze", options.frozen)
        if options.frozen is None:
            print(standard_library_note())
        for path in (product.setup, product.msi, product.sbom):
            print(f"{path.stat().st_size / 1e6:7.1f} MB  {path.relative_to(ROOT)}")
        size = sum(path.stat().st_size for path in product.onedir.rglob("*") if path.is_file())
        print(f"{size / 1e6:7.1f} MB  {product.onedir.relative_to(ROOT)}/")
        if options.twice:
            again = build(BUILD / "again", BUILD / "freeze-again", options.frozen)
            changed = sorted({name for name, _ in product.hashes() ^ again.hashes()})
            print("\n".join([f"not the same: {name}" for name in changed] or ["built the same"]))
            if changed:
                return 1
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
