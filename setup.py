"""Compile the message catalogues into every wheel; the rest is in pyproject.toml.

An installation without compiled catalogues would show English texts to Japanese users.
"""

from __future__ import annotations

from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from setuptools import setup
from setuptools.command.build_py import build_py

CATALOGUES = ("agent/locale", "server/console/locale")


class BuildWithCatalogues(build_py):
    """Copy the packages, then put the compiled catalogues beside them."""

    def run(self) -> None:
        super().run()
        for folder in CATALOGUES:
            for source in sorted(Path(folder).glob("*/LC_MESSAGES/*.po")):
                target = Path(self.build_lib, source).with_suffix(".mo")
                target.parent.mkdir(parents=True, exist_ok=True)
                with source.open("rb") as text, target.open("wb") as binary:
                    write_mo(binary, read_po(text))


setup(cmdclass={"build_py": BuildWithCatalogues})
