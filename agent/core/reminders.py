"""The rules when to warn about an old password: at every sign-in, and not too often at unlocks."""

from __future__ import annotations

from datetime import date

from agent.core.events import SignedIn, SignInKind
from agent.core.saved_state import SavedState

LAST_DAYS = 3
"""With so many days left, or fewer, every unlock warns."""
PAUSE_S = 60.0
"""Seconds without another warning: one return to the desktop can be a connect and an unlock."""


def is_due(
    sign_in: SignedIn,
    *,
    days_left: int,
    saved_state: SavedState,
    today: date,
    since_last_s: float | None,
) -> bool:
    """Return whether this sign-in is to be warned about.

    `today` is the local day by the server's clock. `since_last_s` has the seconds since the last
    warning of this run; None means that there was none.
    """
    if since_last_s is not None and since_last_s < PAUSE_S:
        return False
    match sign_in.kind:
        case SignInKind.SIGN_IN:
            return saved_state.warned_session != sign_in.session
        case SignInKind.CONNECT:
            return True
        case _:
            return days_left <= LAST_DAYS or saved_state.warned_on != today
