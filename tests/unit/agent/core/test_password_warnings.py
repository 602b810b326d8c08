"""When a sign-in is warned about: the rules of the manual, one by one."""

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
        pytest.param(SIGN_IN, "s1", 30, NOT_YET, True, id="the first sign-in"),
        pytest.param(SIGN_IN, "s1", 30, WARNED, False, id="the program restarted in it"),
        pytest.param(SIGN_IN, "s2", 30, WARNED, True, id="the next sign-in"),
        pytest.param(SIGN_IN, "s1", 0, WARNED, False, id="a restart on the last day"),
        pytest.param(CONNECT, "s1", 30, WARNED, True, id="remote desktop"),
        pytest.param(UNLOCK, "s1", 30, WARNED, False, id="a second unlock on a day"),
        pytest.param(UNLOCK, "s1", 30, WARNED_YESTERDAY, True, id="the first unlock on a day"),
        pytest.param(UNLOCK, "s1", 4, WARNED, False, id="four days left"),
        pytest.param(UNLOCK, "s1", 3, WARNED, True, id="the last three days"),
        pytest.param(UNLOCK, "s1", 0, WARNED, True, id="the last day"),
    ],
)
def test_rules(
    kind: SignInKind, session: str, days_left: int, memory: SavedState, *, expected: bool
) -> None:
    """A warning is due at each sign-in and connect, at unlocks daily or in the last 3 days."""
    assert (
        is_due(
            SignedIn(session, kind),
            days_left=days_left,
            saved_state=memory,
            today=TODAY,
            since_last_s=None,
        )
        is expected
    )


@pytest.mark.parametrize("kind", list(SignInKind))
@pytest.mark.parametrize(("since", "expected"), [(59.9, False), (60.0, True)])
def test_one_return_is_warned_about_once(kind: SignInKind, since: float, *, expected: bool) -> None:
    """Connect and unlock, told within a minute, are one return to the desktop."""
    assert (
        is_due(
            SignedIn("s2", kind),
            days_left=2,
            saved_state=WARNED,
            today=TODAY,
            since_last_s=since,
        )
        is expected
    )
