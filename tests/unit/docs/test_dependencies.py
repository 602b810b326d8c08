"""docs/dependencies.md matches the packages, and all packages are pinned by hash."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import distribution

import pytest

from installer.sbom import license_of
from tests.support.places import ROOT

PAGE = ROOT / "docs" / "dependencies.md"
LOCKS = [
    "agent/requirements.txt",
    "server/requirements.txt",
    "tests/requirements.txt",
    "installer/requirements.txt",
    "installer/requirements-tools.txt",
]
SECTIONS = {"Both programs": "", "The client": "client", "The server": "server"}
"""The beginning of each heading on the page, and the extra that its table lists."""
ELSEWHERE = {
    "pystray": "GNU Lesser General Public License v3 (LGPLv3)",
    "pywin32": "PSF",
    "uvloop": "MIT License",
    "win10toast": "BSD",
}
"""Licences of packages that are not installed on every system."""


def _declared(extra: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = project["optional-dependencies"][extra] if extra else project["dependencies"]
    return {re.split(r"[\[>=<;!~ ]", each, maxsplit=1)[0].lower() for each in wanted}


def _rows(heading: str) -> list[list[str]]:
    sections = re.split(r"^## ", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    section = next(each for each in sections if each.startswith(heading))
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:1] == "|"]
    return lines[2:]


@pytest.mark.parametrize(("heading", "extra"), SECTIONS.items())
def test_page_lists_every_direct_dependency(heading: str, extra: str) -> None:
    """Each table on the page has exactly its extra's packages, with the licences they state."""
    rows = _rows(heading)
    assert [row[0] for row in rows] == sorted(_declared(extra))
    for name, licence, *rest in rows:
        assert licence == (ELSEWHERE.get(name) or license_of(distribution(name))), name
        assert len(rest) == 2, name
        assert all(rest), name


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_is_pinned_by_hash(lock: str) -> None:
    """Each pinned version has hashes and no URL, so a registry cannot change what is installed."""
    text = (ROOT / lock).read_text("utf-8")
    blocks = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert blocks
    for block in blocks:
        assert re.match(r"[A-Za-z0-9._\[\],-]+==[^\s]+", block), block[:60]
        assert "--hash=sha256:" in block, block[:60]
    assert "://" not in text
