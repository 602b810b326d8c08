"""The user's sign-ins: which of them is still to be warned or asked, and what became of it."""

from __future__ import annotations

from typing import Literal

from agent.core import effects as do
from agent.core.credentials import Identity
from agent.core.effects import EffectQueue
from agent.core.events import Instant, SignedIn, Timer
from agent.core.failure import Reason
from agent.core.remembered import AccountContext
from agent.core.reminders import is_due
from protocol import messages as msg

OFFLINE_WARNING_S = 60.0
"""Seconds after a sign-in at which the last known deadline has to do."""
MAX_DAYS = 36_500
"""What a notice can say (docs/protocol.md)."""


class PasswordWarnings:
    """A sign-in waits until it is known whether the password is old."""

    def __init__(self, remembered: AccountContext, outbox: EffectQueue) -> None:
        self._do = outbox
        self._remembered = remembered
        self._session = ""
        self._waiting: list[SignedIn] = []
        self._warned_at: float | None = None
        self._unsent: tuple[Identity | None, msg.Notice] | None = None

    def came(self, event: SignedIn) -> None:
        """The user is there. An unlock on the heels of a sign-in does not take its place."""
        self._session = event.session
        if event not in self._waiting:
            self._waiting.append(event)

    def wait_for_server(self) -> None:
        """Nothing can be decided yet; for a while."""
        self._do(do.StartTimer(Timer.WARNING, OFFLINE_WARNING_S))

    def decide(self, now: Instant, *, online: bool) -> None:
        """Warn or do not, by the server's word when `online`, else by the last known one."""
        memory = self._remembered.memory
        end, days = memory.old_valid_until, self._remembered.days_left(now)
        if not self._waiting:
            return
        if not online and (end is None or self._remembered.server_now(now) >= end):
            return  # only the server can say what holds now
        waiting, self._waiting = self._waiting, []
        self._do(do.StopTimer(Timer.WARNING))
        if days is None:
            return
        today = self._remembered.today(now)
        since = None if self._warned_at is None else now.steady - self._warned_at
        if any(
            is_due(each, days_left=days, memory=memory, today=today, since_last_s=since)
            for each in waiting
        ):
            self._warned_at = now.steady
            self._remembered.remember(warned_session=self._session, warned_on=today)
            self._do(do.ShowWarning(days))
        else:
            self.note("suppressed", days)

    def ask(self, reason: Reason) -> None:
        """Tell the user that a password is needed: once, and again at the next sign-in."""
        if self._remembered.memory.asked_session != self._session:
            self._do(do.AskForPassword(reason))
            self._remembered.remember(asked_session=self._session)

    def note(self, warning: Literal["shown", "suppressed", "failed"], days: int) -> None:
        """Keep what became of a warning, for the server."""
        notice = msg.Notice(warning=warning, days_left=min(days, MAX_DAYS))
        self._unsent = (self._remembered.identity, notice)

    def take_notice(self) -> msg.Notice | None:
        """What the server has not been told yet."""
        unsent, self._unsent = self._unsent, None
        if unsent is None or unsent[0] != self._remembered.identity:
            return None
        return unsent[1]
