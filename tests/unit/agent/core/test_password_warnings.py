"""The manual's rules for the sign-ins at which a warning is due."""

from __future__ import annotations

from datetime import date

import pytest

from agent.core.events import SignedIn, SignInKind
from agent.core.password_warnings import is_due
from agent.core.saved_state import SavedState

TODAY, YESTERDAY = date(2026, 12, 1), date(2026, 11, 30)
NOT_YET = SavedState()
WARNED = SavedState(warned_session="s1", warned_on=TODAY)
WARNED_YESTERDAY = SavedState(warned_session="s1", warned_on=YESTERDAY)
SIGN_IN, CONNECT, UNLOCK = SignInKind.SIGN_IN, SignInKind.CONNECT, SignInKind.UNLOCK


@pytest.mark.parametrize(
    ("kind", "session", "days_left", "memory", "expected"),
    [
        (SIGN_IN, "s1", 30, NOT_YET, True),
        (SIGN_IN, "s1", 0, WARNED, False),  # restarted in the session
        (SIGN_IN, "s2", 30, WARNED, True),
        (CONNECT, "s1", 30, WARNED, True),  # remote desktop
        (UNLOCK, "s1", 30, WARNED, False),
        (UNLOCK, "s1", 30, WARNED_YESTERDAY, True),
        (UNLOCK, "s1", 4, WARNED, False),
        (UNLOCK, "s1", 3, WARNED, True),
    ],
)
def test_rules(
    kind: SignInKind, session: str, days_left: int, memory: SavedState, *, expected: bool
) -> None:
    """A warning is due at each sign-in and connect, and at unlocks daily or in the last 3 days."""
    assert is_due(SignedIn(session, kind), days_left, memory, TODAY) is expected
