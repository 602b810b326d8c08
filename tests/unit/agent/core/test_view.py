"""The view: a picture for every state, and words for logs and scripts."""

from __future__ import annotations

from enum import Enum

import pytest

from agent.core.connection_state import Kind, Phase
from agent.core.credential_cache import Knowledge
from agent.core.effects import WriteReason
from agent.core.events import SignInKind, Timer
from agent.core.failure import Reason
from agent.core.password_change import Progress
from agent.core.password_warnings import Warned
from agent.core.state import State
from agent.core.view import PICTURES, Command, View, picture


def test_every_state_has_a_picture() -> None:
    """Each state has a picture; the two states that need the user have the same one."""
    assert PICTURES.keys() == set(State)
    assert PICTURES[State.STANDBY] == "standby"
    assert PICTURES[State.STANDBY_OLD_PASSWORD] == "old_password"
    assert PICTURES[State.RETRYING] == "offline"
    assert PICTURES[State.NEEDS_PASSWORD] == PICTURES[State.LOGGED_OUT] == "attention"


@pytest.mark.parametrize(
    ("state", "days", "name"),
    [
        (State.STANDBY_OLD_PASSWORD, 10, "old_password"),
        (State.STANDBY_OLD_PASSWORD, 9, "days-9"),
        (State.STANDBY_OLD_PASSWORD, 0, "days-0"),
        (State.STANDBY_OLD_PASSWORD, None, "old_password"),
        (State.RETRYING, 3, "offline"),
    ],
)
def test_the_last_days_are_a_number(state: State, days: int | None, name: str) -> None:
    """The picture shows the days left of an old password when they are 9 or fewer."""
    assert picture(View(state, days_left=days)) == name


WORDS = [
    State, Reason, Timer, WriteReason, SignInKind, Kind, Command,
    Phase, Knowledge, Progress, Warned,
]  # fmt: skip


@pytest.mark.parametrize("words", WORDS)
def test_words_are_spelled_out(words: type[Enum]) -> None:
    """Each enum's value is its member's name, because logs and `status --json` contain it."""
    assert [each.value for each in words] == [each.name.lower() for each in words]
