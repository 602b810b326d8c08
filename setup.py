"""Compile the message catalogues into every wheel; the rest is in pyproject.toml.

An installation without compiled catalogues would show English texts to Japanese users.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from setuptools import setup
from setuptools.command.build_py import build_py

CATALOGUES = ("agent/locale", "server/console/locale")
NO_DATE = datetime(2000, 1, 1, tzinfo=UTC)
"""In place of today's date, with which no two builds would be the same."""


class BuildWithCatalogues(build_py):
    """Copy the packages, then put the compiled catalogues beside them."""

    def run(self) -> None:
        super().run()
        for folder in CATALOGUES:
            for source in sorted(Path(folder).glob("*/LC_MESSAGES/*.po")):
                target = Path(self.build_lib, source).with_suffix(".mo")
                target.parent.mkdir(parents=True, exist_ok=True)
                with source.open("rb") as text, target.open("wb") as binary:
                    catalogue = read_po(text)
                    catalogue.creation_date = catalogue.revision_date = NO_DATE
                    write_mo(binary, catalogue)


setup(cmdclass={"build_py": BuildWithCatalogues})
