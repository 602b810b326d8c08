"""Read the Japanese catalogues, which `make messages` brings up to date."""

from __future__ import annotations

from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from tests.support.places import ROOT

CLIENT = ROOT / "agent/locale/ja/LC_MESSAGES/agent.po"
CONSOLE = ROOT / "server/console/locale/ja/LC_MESSAGES/django.po"


def read(file: Path) -> Catalog:
    with file.open("rb") as opened:
        return read_po(opened, abort_invalid=True)
