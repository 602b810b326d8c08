"""Warnings about an old password: one at each sign-in of the user to Windows.

A sign-in waits until the server has said whether the password is old, or for a minute: then the
last known end of the old password has to do. A warning is asked for once it is due, and has been
seen when the desktop says so. The server gets a notice about each warning; a notice that could not
be sent waits for the next login. The user is asked for a password once per sign-in, too.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal

from agent.core import effects as do
from agent.core.account_context import AccountContext
from agent.core.credentials import Identity
from agent.core.effects import EffectQueue
from agent.core.events import Instant, SignedIn, Timer
from agent.core.failure import Reason
from agent.core.reminders import is_due
from agent.core.transitions import Table
from protocol import messages as msg

OFFLINE_WARNING_S = 60.0
"""Seconds after a sign-in at which the last known end of the old password has to do."""
TOAST_S = 60.0
"""Seconds that the desktop may take to say whether it has shown a warning."""
MAX_DAYS = 36_500
"""The most days that a notice can carry (docs/protocol.md)."""


class Warned(Enum):
    """What is known about the warning at the last sign-in."""

    NOT_DUE = "not_due"
    DUE = "due"
    ASKED_FOR = "asked_for"
    SEEN = "seen"


_W = Warned

TABLE = Table(
    _W.NOT_DUE,
    {
        (_W.DUE, "password current, or warned before"): _W.NOT_DUE,
        (_W.DUE, "password old"): _W.ASKED_FOR,
        (_W.ASKED_FOR, "desktop showed it"): _W.SEEN,
        (_W.ASKED_FOR, "desktop could not show it"): _W.NOT_DUE,
    },
    anywhere={"user signed in": _W.DUE},
)


class PasswordWarnings:
    """The sign-ins that wait for a warning, and the notices that wait for the server."""

    def __init__(self, account: AccountContext, emit: EffectQueue) -> None:
        self._emit = emit
        self._account = account
        self._session = ""
        self._waiting: list[SignedIn] = []
        self._warned_at: float | None = None
        self._days = 0
        self._unsent: tuple[Identity, msg.Notice] | None = None
        self.state = Warned.NOT_DUE

    def on_signed_in(self, event: SignedIn) -> None:
        """Note a sign-in. An unlock right after it waits beside it and does not replace it."""
        self._session = event.session
        self._go("user signed in")
        if event not in self._waiting:
            self._waiting.append(event)

    def wait_for_server(self) -> None:
        """Give the server a minute to say whether the password is old."""
        self._emit(do.StartTimer(Timer.WARNING, OFFLINE_WARNING_S))

    def decide(self, now: Instant, *, online: bool) -> None:
        """Decide about the sign-ins that wait for a warning; offline, by the last known end."""
        saved, days = self._account.saved_state, self._account.days_left(now)
        if not self._waiting or (days is None and not online):
            return  # only the server knows what is valid now
        waiting, self._waiting = self._waiting, []
        self._emit(do.StopTimer(Timer.WARNING))
        today = self._account.today(now)
        since = None if self._warned_at is None else now.steady - self._warned_at
        if days is not None and any(
            is_due(each, days_left=days, saved_state=saved, today=today, since_last_s=since)
            for each in waiting
        ):
            self._go("password old")
            self._warned_at, self._days = now.steady, days
            self._account.remember(warned_session=self._session, warned_on=today)
            self._emit(do.ShowWarning(days), do.StartTimer(Timer.TOAST, TOAST_S))
        else:
            self._go("password current, or warned before")
            if days is not None:
                self._note("suppressed", days)

    def on_answer(self, days: int, *, shown: bool) -> None:
        """Note whether the desktop has shown the warning. By now another sign-in may wait."""
        self._emit(do.StopTimer(Timer.TOAST))
        if self.state is Warned.ASKED_FOR:
            self._go("desktop showed it" if shown else "desktop could not show it")
        self._note("shown" if shown else "failed", days)

    def on_late(self) -> None:
        """Count a warning as failed when the desktop does not answer."""
        if self.state is Warned.ASKED_FOR:
            self.on_answer(self._days, shown=False)

    def ask(self, reason: Reason | None) -> None:
        """Tell the user that a password is needed, once per sign-in; None: none is stored."""
        if self._account.saved_state.asked_session != self._session:
            self._emit(do.AskForPassword(reason))
            self._account.remember(asked_session=self._session)

    def take_notice(self) -> msg.Notice | None:
        """Return the notice to send, if there is one for the identity in use."""
        unsent, self._unsent = self._unsent, None
        if unsent is None or unsent[0] != self._account.identity:
            return None
        return unsent[1]

    def _note(self, warning: Literal["shown", "suppressed", "failed"], days: int) -> None:
        notice = msg.Notice(warning=warning, days_left=min(days, MAX_DAYS))
        self._unsent = (self._account.identity, notice)

    def _go(self, cause: str) -> None:
        self.state = TABLE.next(self.state, cause)
