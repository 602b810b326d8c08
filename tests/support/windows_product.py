"""Build the product that tests install, once for each state of the checkout."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from installer.build import Product, build
from installer.package import make_msi, make_setup
from installer.winpy.assemble import BUILD, ROOT

NEWER = "99.1.0"
"""The version of the packages that upgrade: the same program under a higher number."""


@dataclass(frozen=True)
class Built:
    """The product, and the packages of a newer version."""

    product: Product
    newer_setup: Path
    newer_msi: Path


def sources() -> list[Path]:
    """Return all files that the product is made from."""
    files = [ROOT / "build.spec"]
    for folder, kinds in (("agent", "*.*"), ("protocol", "*.py"), ("installer", "*.*")):
        files += (ROOT / folder).rglob(kinds)
    made = {".mo", ".pyc"}
    return sorted(
        path
        for path in files
        if path.is_file() and path.suffix not in made and ".ruff_cache" not in path.parts
    )


def built() -> Built:
    """Build, unless just these sources have been built already."""
    digest = hashlib.sha256()
    for path in sources():
        name = path.relative_to(ROOT).as_posix()
        digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    folder = BUILD / "product"
    with (BUILD / "product.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        key = folder / "key"
        newer_setup, newer_msi = folder / "newer-setup.exe", folder / "newer.msi"
        version = folder / "version"
        if not key.exists() or key.read_text() != digest.hexdigest():
            shutil.rmtree(folder, ignore_errors=True)
            product = build(folder / "dist", folder / "work")
            make_setup(product.onedir, NEWER, newer_setup, fast=True)
            make_msi(product.onedir, NEWER, newer_msi)
            version.write_text(product.version)
            key.write_text(digest.hexdigest())
        product = Product(folder / "dist", version.read_text())
    return Built(product, newer_setup, newer_msi)
