"""The table of states is the only way from one to another, and the docs show it."""

from __future__ import annotations

import itertools

import pytest

from agent.core.state import TABLE, IllegalTransition, State, Trigger, diagram, next_state
from tests.support.places import ROOT

ARCHITECTURE = ROOT / "docs" / "architecture.md"
PAIRS = list(itertools.product(State, Trigger))


@pytest.mark.parametrize(("state", "trigger"), PAIRS)
def test_a_pair_is_in_the_table_or_raises(state: State, trigger: Trigger) -> None:
    """No transition is decided anywhere else; an illegal one names both and goes nowhere."""
    if (state, trigger) in TABLE:
        assert next_state(state, trigger) is TABLE[state, trigger]
    else:
        with pytest.raises(IllegalTransition, match=f"{state.value}: {trigger.value}"):
            next_state(state, trigger)


def test_every_state_is_reachable_and_none_but_the_end_is_final() -> None:
    """From the start each state can be reached, and left again unless the program ends."""
    reached = {State.CONNECTING}
    while more := {new for (old, _), new in TABLE.items() if old in reached} - reached:
        reached |= more
    assert reached == set(State)
    assert {old for old, _ in TABLE} == set(State) - {State.STOPPED}


def test_the_user_can_always_leave() -> None:
    """Logging out and quitting work in every state."""
    for state in set(State) - {State.STOPPED}:
        assert next_state(state, Trigger.LOGGED_OUT) is State.LOGGED_OUT
        assert next_state(state, Trigger.QUIT) is State.STOPPED


def test_standby_comes_from_a_login_only() -> None:
    """Nothing else than a login makes the client say that it waits."""
    for (_, trigger), new in TABLE.items():
        assert (new is State.STANDBY) == (trigger is Trigger.LOGGED_IN)
        assert (new is State.STANDBY_OLD_PASSWORD) == (trigger is Trigger.LOGGED_IN_OLD)


def test_the_documentation_shows_the_table() -> None:
    """docs/architecture.md carries `diagram()`; on a change, paste its output between the marks."""
    _, rest = ARCHITECTURE.read_text("utf-8").split("<!-- state diagram -->\n")
    shown, _ = rest.split("\n<!-- end of state diagram -->")
    assert shown == f"```mermaid\n{diagram()}\n```"
