"""The threat model: each attack names a test that carries it out, and the test exists."""

from __future__ import annotations

import ast
import re
from functools import cache

from tests.support.places import ROOT

TESTS = ROOT / "tests"
PAGE = (TESTS.parent / "docs" / "security.md").read_text("utf-8")
NAMED = re.findall(r"`([\w/]+\.py)::(\w+(?:::\w+)?)`", PAGE)


@cache
def names_in(file: str) -> set[str]:
    """Return the names in a file of tests: `name` of functions, `Class::name` of methods."""
    found = set()
    for node in ast.parse((TESTS / file).read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.ClassDef):
            methods = [
                each
                for each in node.body
                if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
            ]
            found |= {f"{node.name}::{each.name}" for each in methods}
    return found


def test_every_named_test_exists() -> None:
    """A renamed or removed test changes its row of the threat model, too."""
    assert len(NAMED) > 80
    missing = [
        f"{file}::{name}"
        for file, name in NAMED
        if not (TESTS / file).is_file() or name not in names_in(file)
    ]
    assert missing == []


def test_every_attack_is_carried_out() -> None:
    """Every row of the tables names a test."""
    parts = PAGE.partition("## Who might do what")[2].partition("## The fuzzers")[0]
    rows = [line for line in parts.splitlines() if line.startswith("| ")]
    attacks = [row for row in rows if not row.startswith("| attack |")]
    assert len(attacks) > 40
    shows = re.compile(r"`[\w/]+\.py::\w+(::\w+)?`(, `[\w/]+\.py::\w+(::\w+)?`)*")
    assert [row for row in attacks if not shows.fullmatch(row.split(" | ")[-1].strip(" |"))] == []
