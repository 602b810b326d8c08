"""Notifications at each sign-in to Windows: the password is old, or a password is needed.

A sign-in waits until the server has said whether the password is old, but at most a minute: then
the last known end of the old password decides. After a login with an old password the sign-in waits
a second more, because the server may push the new password in that second. A warning that is due
counts only when the desktop reports that the user has seen it. Until then it is shown again each
minute, and at once when the user comes back to the desktop. After a failure of the desktop it is
shown again only when the user comes back. In the last three days, the status window opens in place
of a warning that the user did not see, once per sign-in.

The server gets a notice about each warning; a notice that could not be sent waits for the next
login.

While a password is needed, the notification asks for it instead, once per sign-in. The same rules
say when that notification counts and is shown again; the server gets no notice.
"""

from __future__ import annotations

from datetime import date, timedelta
from enum import Enum

from agent.core import effects as do
from agent.core.account_context import AccountContext
from agent.core.credentials import Identity
from agent.core.effects import EffectQueue
from agent.core.events import Instant, SignedIn, SignInKind, Timer
from agent.core.failure import Reason
from agent.core.saved_state import SavedState
from agent.core.transitions import Table
from protocol.messages import Notice, WarningOutcome

DECIDE_S = 60.0  # seconds that a sign-in waits for the server's word on the password
PUSH_S = 1.0  # seconds that a sign-in waits for a push after a login with an old password
TOAST_S = 60.0  # seconds without a report of the desktop after which a warning counts as unseen
LAST_DAYS = 3  # with this number of days left, or fewer, every unlock warns
PAUSE_S = 60.0  # minimum seconds between warnings: a return can be a connect and an unlock
MAX_DAYS = 36_500  # the most days that a notice can carry (docs/protocol.md)


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
        ((_W.NOT_DUE, _W.DUE, _W.SEEN), "user signed in"): _W.DUE,
        (_W.ASKED_FOR, "user signed in"): _W.ASKED_FOR,
        (_W.DUE, "password current, or warned before"): _W.NOT_DUE,
        (_W.DUE, "password old"): _W.ASKED_FOR,
        (_W.ASKED_FOR, "user did not see it"): _W.DUE,
        ((_W.DUE, _W.ASKED_FOR), "user saw it"): _W.SEEN,
    },
    anywhere={"password needed": _W.ASKED_FOR, "resolved": _W.NOT_DUE},
)


class PasswordWarnings:
    """The sign-ins that wait for a warning, and the notices that wait for the server."""

    def __init__(self, account: AccountContext, emit: EffectQueue) -> None:
        self._emit, self._account = emit, account
        self._session = ""
        self._waiting: list[SignedIn] = []  # the sign-ins at which no warning was seen so far
        self._away = False  # the user cannot see the desktop
        self._seen_at = float("-inf")  # when a warning of this run was seen last (steady clock)
        self._days: int | None = None  # days in the last warning; None: a password is needed
        self._needed: do.AskForPassword | None = None
        self._noted: tuple[WarningOutcome, int] | None = None
        """Outcome and days of the last notice about the sign-ins that wait."""
        self._unsent: tuple[Identity, Notice] | None = None
        self.state = Warned.NOT_DUE

    def on_signed_in(self, event: SignedIn) -> None:
        """Note a sign-in. It does not replace an earlier sign-in that waits."""
        self._session, self._away, self._noted = event.session, False, None
        self._go("user signed in")
        if event not in self._waiting:
            self._waiting.append(event)

    def on_user_left(self) -> None:
        self._away = True

    def wait_for_server(self) -> None:
        """Give the server a minute to say whether the password is old."""
        self._emit(do.StartTimer(Timer.WARNING, DECIDE_S))

    def wait_for_push(self) -> None:
        """Give the server PUSH_S seconds to push the new password, if a warning is due."""
        if self.state is Warned.DUE:
            self._emit(do.StartTimer(Timer.WARNING, PUSH_S))

    def decide(self, now: Instant, *, online: bool) -> None:
        """Show a warning if a waiting sign-in needs it; offline, the last known end decides."""
        if self._needed is not None:
            self.ask(self._needed.reason)
            return
        saved, days = self._account.saved_state, self._account.days_left(now)
        if self.state is not Warned.DUE or (days is None and not online):
            return  # only the server knows what is valid now
        self._emit(do.StopTimer(Timer.WARNING))
        today, may_warn = self._account.today(now), now.steady - self._seen_at >= PAUSE_S
        if days is None or not (
            may_warn and any(is_due(each, days, saved, today) for each in self._waiting)
        ):
            self._go("password current, or warned before")
            self._waiting.clear()
            if days is not None:
                self._note(WarningOutcome.SUPPRESSED, days)
        elif self._away:
            self._note(WarningOutcome.UNSEEN, days)
        else:
            self._go("password old")
            self._days = days
            last_day = today + timedelta(days=min(days, MAX_DAYS))
            self._emit(do.ShowWarning(days, last_day), do.StartTimer(Timer.TOAST, TOAST_S))

    def on_outcome(self, days: int | None, outcome: WarningOutcome, now: Instant) -> None:
        """Note the outcome of a warning; `days` None: it said that a password is needed."""
        if (days is None) != (self._needed is not None):
            return  # the warning is no longer true
        if outcome is WarningOutcome.SHOWN and self._away:
            outcome = WarningOutcome.UNSEEN  # it was drawn behind the lock screen
        if outcome not in {WarningOutcome.UNSEEN, WarningOutcome.FAILED}:
            if self.state in {Warned.DUE, Warned.ASKED_FOR}:
                self._go("user saw it")
                if days is None:
                    self._account.remember(asked_session=self._session)
                else:
                    self._waiting.clear()
                    self._seen_at = now.steady
                    today = self._account.today(now)
                    self._account.remember(warned_session=self._session, warned_on=today)
                self._emit(do.StopTimer(Timer.TOAST), do.StopTimer(Timer.WARNING))
        elif self.state is Warned.ASKED_FOR:
            self._go("user did not see it")
            self._emit(do.StopTimer(Timer.TOAST))
            if outcome is WarningOutcome.UNSEEN:
                self._emit(do.StartTimer(Timer.WARNING, DECIDE_S))
            self._escalate(days)
        else:
            return
        self._note(outcome, days)

    def on_late(self, now: Instant) -> None:
        """Count a warning as unseen: the desktop has not reported its outcome in time."""
        self.on_outcome(self._days, WarningOutcome.UNSEEN, now)

    def withdraw(self) -> None:
        self._go("resolved")
        self._needed = None
        self._waiting.clear()
        self._emit(do.WithdrawWarning(), do.StopTimer(Timer.TOAST), do.StopTimer(Timer.WARNING))

    def ask(self, reason: Reason | None) -> None:
        """Tell the user once per sign-in that a password is needed; None: no password is stored."""
        needed, before = do.AskForPassword(reason), self._needed
        self._needed, self._days = needed, None
        done = self._account.saved_state.asked_session == self._session
        if done or self._away or (self.state is Warned.ASKED_FOR and needed == before):
            return
        self._go("password needed")
        self._emit(needed, do.StartTimer(Timer.TOAST, TOAST_S))

    def take_notice(self) -> Notice | None:
        unsent, self._unsent = self._unsent, None
        return unsent[1] if unsent and unsent[0] == self._account.identity else None

    def _escalate(self, days: int | None) -> None:
        """Open the status window in place of a warning that a user at the desktop did not see."""
        done = self._account.saved_state.escalated_session == self._session
        if days is not None and days <= LAST_DAYS and not self._away and not done:
            self._emit(do.OpenStatus())
            self._account.remember(escalated_session=self._session)

    def _note(self, warning: WarningOutcome, days: int | None) -> None:
        if days is not None and self._noted != (warning, days):
            self._noted = (warning, days)
            notice = Notice(warning=warning, days_left=min(days, MAX_DAYS))
            self._unsent = (self._account.identity, notice)

    def _go(self, cause: str) -> None:
        self.state = TABLE.next(self.state, cause)


def is_due(sign_in: SignedIn, days_left: int, saved_state: SavedState, today: date) -> bool:
    """Return whether a warning is due at this sign-in. `today`: local, by the server's clock."""
    if sign_in.kind is SignInKind.SIGN_IN:
        return saved_state.warned_session != sign_in.session
    daily = days_left <= LAST_DAYS or saved_state.warned_on != today
    return sign_in.kind is SignInKind.CONNECT or daily
