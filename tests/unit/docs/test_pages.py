"""The pages: links and named files exist, each code block names its language."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.places import ROOT

PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]
LINK = re.compile(r"(?<!`)!?\[[^\]]*\]\(([^)\s]+)\)")
FILE = re.compile(
    r"`((?:agent|assets|bench|demo|docs|fuzz|installer|protocol|server|tests|\.ci)/[\w./-]*)`"
)
MADE = {"agent/assets/"}
"""Folders that pages name and only a build makes."""

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def prose(page: Path) -> str:
    """Return the page's text without its code blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, made as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in words}


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link leads to a file and a heading; every file that a page names exists."""
    named = set(FILE.findall(page.read_text("utf-8"))) - MADE
    wrong = sorted(name for name in named if not (ROOT / name).exists())
    for link in LINK.findall(prose(page)):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if "://" in link or link.startswith("mailto:"):
            continue
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    assert wrong == []


@each_page
def test_every_block_names_its_language(page: Path) -> None:
    """Every code block has a language, by which the tests find commands."""
    fences = re.findall(r"^\s*```(.*)$", page.read_text("utf-8"), re.MULTILINE)
    assert len(fences) % 2 == 0
    assert "" not in fences[::2]
    assert set(fences[1::2]) <= {""}
    assert re.findall(r"\n\n {4}\S", prose(page)) == []


def test_every_page_is_listed() -> None:
    """docs/README.md leads to every page, in the language of its readers."""
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    pages = {page.name for page in ROOT.glob("docs/*.md")} - {"README.md"}
    assert sorted(name for name in pages if f"({name})" not in index) == []


def test_every_picture_is_shown() -> None:
    """A page shows every picture."""
    shown = " ".join(page.read_text("utf-8") for page in PAGES)
    pictures = sorted(path.name for path in (ROOT / "docs" / "images").iterdir())
    assert [name for name in pictures if f"images/{name}" not in shown] == []


def test_readme_is_short() -> None:
    """The README has at most 90 lines."""
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 90


def test_words_of_the_glossary_are_in_the_code() -> None:
    """Each name in the glossary's last column exists in the code."""
    rows = re.findall(r"^\|.*\| (.*) \|$", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE)
    names = {name for row in rows for name in re.findall(r"`([\w.]+)`", row) if "/" not in name}
    parts = {part for name in names for part in name.split(".")}
    packages = ("agent", "protocol", "server")
    files = [file for package in packages for file in (ROOT / package).rglob("*.py")]
    code = set(re.findall(r"\w+", " ".join(f"{file.stem} {file.read_text()}" for file in files)))
    assert sorted(parts - code) == []
