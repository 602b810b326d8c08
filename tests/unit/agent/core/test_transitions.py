"""Tables of transitions: illegal pairs raise, and the documentation shows each table."""

from __future__ import annotations

import itertools
import re
from enum import Enum
from typing import Any

import pytest

from agent.core import (
    connection_state,
    credential_cache,
    password_change,
    password_warnings,
    state,
)
from agent.core.state import State
from agent.core.transitions import IllegalTransition, Table
from tests.support.places import ROOT

ARCHITECTURE = ROOT / "docs" / "architecture.md"
TABLES: dict[str, Table[Any]] = {
    "what the user sees": state.TABLE,
    "connection": connection_state.TABLE,
    "vault": credential_cache.TABLE,
    "change of the password": password_change.TABLE,
    "warnings": password_warnings.TABLE,
}
every_table = pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))


def states(table: Table[Any]) -> set[Enum]:
    kind: type[Enum] = type(table.first)
    return set(kind)


@every_table
def test_a_pair_is_in_the_table_or_raises(table: Table[Any]) -> None:
    """A pair that is not in the table raises an error that names state and trigger."""
    triggers = {trigger for _, trigger in table.rows}
    for before, trigger in itertools.product(states(table), triggers):
        if (before, trigger) in table.rows:
            assert table.next(before, trigger) is table.rows[before, trigger]
        else:
            text = re.escape(f"{before.value}: {trigger}")
            with pytest.raises(IllegalTransition, match=f"^{text}$"):
                table.next(before, trigger)


@every_table
def test_every_state_can_be_reached_and_left(table: Table[Any]) -> None:
    """Every state can be reached, and left except STOPPED."""
    reached = {table.first}
    while more := {new for (old, _), new in table.rows.items() if old in reached} - reached:
        reached |= more
    assert reached == states(table)
    assert {old for old, _ in table.rows} | {State.STOPPED} == reached | {State.STOPPED}


def test_only_a_login_leads_to_standby() -> None:
    """Only a login leads to the two standby states."""
    for (_, trigger), new in state.TABLE.rows.items():
        logged_in, old = "logged in with the current password", "logged in with an old password"
        assert (new is State.STANDBY) == (trigger == logged_in)
        assert (new is State.STANDBY_OLD_PASSWORD) == (trigger == old)


def diagram(table: Table[Any]) -> str:
    lines = ["stateDiagram-v2", f"    [*] --> {table.first.name}"]
    for (source, trigger), target in table.rows.items():
        if trigger not in table.anywhere:
            lines.append(f"    {source.name} --> {target.name}: {trigger}")
    for trigger, target in table.anywhere.items():
        lines.append(f"    note left of {target.name}: from any state by '{trigger}'")
    return "\n".join(lines)


@pytest.mark.parametrize("title", list(TABLES))
def test_the_documentation_shows_the_table(title: str) -> None:
    """docs/architecture.md has each table's diagram; on a change, paste `diagram`'s output."""
    _, rest = ARCHITECTURE.read_text("utf-8").split(f"### State diagram: {title}\n")
    shown = rest.split("```mermaid\n")[1].split("\n```")[0]
    assert shown == diagram(TABLES[title])
