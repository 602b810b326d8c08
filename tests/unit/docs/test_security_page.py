"""docs/security.md: each attack in the threat model names an existing test."""

from __future__ import annotations

import re

from tests.support.places import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")
TEST = r"`([\w/]+\.py)::(\w+)(?:::(\w+))?`"
"""A test file, a function or class in it, and perhaps a method of the class."""


def test_every_named_test_exists() -> None:
    """Every test that the threat model names exists."""
    named = re.findall(TEST, PAGE)
    assert len(named) > 80
    missing = []
    for file, name, method in named:
        path = ROOT / "tests" / file
        text = path.read_text("utf-8") if path.is_file() else ""
        defined = re.search(rf"^(async def|def|class) {name}\b|^{name} =", text, re.MULTILINE)
        if not defined or (method and f"def {method}(" not in text):
            missing.append(f"{file}::{name}")
    assert missing == []


def test_every_attack_is_carried_out() -> None:
    """Every row of the tables names a test."""
    parts = PAGE.partition("## Who might do what")[2].partition("## The fuzzers")[0]
    rows = [line for line in parts.splitlines() if line.startswith("| ")]
    attacks = [row for row in rows if not row.startswith("| attack |")]
    assert len(attacks) > 40
    shows = re.compile(f"{TEST}(, {TEST})*")
    assert [row for row in attacks if not shows.fullmatch(row.split(" | ")[-1].strip(" |"))] == []
