"""Build the Windows product for tests, once for each state of the checkout."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from pathlib import Path

from installer.build import Product, build
from installer.package import make_msi, make_setup, program_version
from installer.winpy.assemble import BUILD, ROOT

NEWER = "99.1.0"
"""The version of the packages that upgrade: the same program under a higher number."""


class Built(Product):
    """The built product, and the packages of a newer version."""

    @property
    def newer_setup(self) -> Path:
        return self.folder.with_name("newer-setup.exe")

    @property
    def newer_msi(self) -> Path:
        return self.folder.with_name("newer.msi")


def built() -> Built:
    """Build the product, unless the same sources are already built. Return it."""
    digest, made = hashlib.sha256(), {".mo", ".pyc"}
    places = (("agent", "*.*"), ("protocol", "*.py"), ("installer", "*.*"))
    sources = [path for folder, kinds in places for path in (ROOT / folder).rglob(kinds)]
    for path in sorted([ROOT / "build.spec", *sources]):
        if path.is_file() and path.suffix not in made and ".ruff_cache" not in path.parts:
            digest.update(f"{path.relative_to(ROOT)}\0{path.stat().st_size}\n".encode())
            digest.update(path.read_bytes())
    folder = BUILD / "product"
    product, key = Built(folder / "dist", program_version()), folder / "key"
    with (BUILD / "product.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not key.exists() or key.read_text() != digest.hexdigest():
            shutil.rmtree(folder, ignore_errors=True)
            build(product.folder, folder / "work")
            make_setup(product.onedir, NEWER, product.newer_setup, fast=True)
            make_msi(product.onedir, NEWER, product.newer_msi)
            key.write_text(digest.hexdigest())
    return product
