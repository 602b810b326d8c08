"""Collect the commands that the pages show: lines of `sh` and `bat` blocks, and inline code."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.places import ROOT

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_PROGRAM = re.compile(
    r"(?:sudo )?(?:\w+=\S+ )*(?:[\w.$%~-]*[/\\])*"
    r"(?:apt(?:-get)?|caddy|coconowork-(?:client|server)(?:\.exe|\.com)?|createdb|createuser|curl"
    r"|django-admin|docker|haproxy|journalctl|make|makensis|msiexec|nginx|openssl|pg_dump|pg_restore"
    r"|pip|pip-audit|psql|py|pybabel|pytest|python[\d.]*|sh|signtool|systemctl|ulimit|uv"
    r"|wineboot|wineserver) \S"
)
"""The beginning of an inline command: a program that the project ships or needs, an argument."""


def blocks(page: Path, *languages: str) -> list[str]:
    """Return the blocks of a page that are in one of `languages`."""
    found = _BLOCK.findall(page.read_text("utf-8"))
    return [text for language, text in found if language in languages]


def lines(block: str) -> list[str]:
    """Return the commands of a block, without comments; continued lines are joined."""
    joined = re.sub(r"\s*\\\n\s*", " ", block)
    bare = (re.sub(r"(^|\s+)# .*", "", line).strip() for line in joined.splitlines())
    return [line for line in bare if line]


def commands(page: Path) -> list[str]:
    """Return all commands of a page, in its order, blocks first."""
    found = [line for block in blocks(page, "sh", "bat") for line in lines(block)]
    text = _BLOCK.sub("", page.read_text("utf-8"))
    return found + [each for each in _INLINE.findall(text) if _PROGRAM.match(each)]
