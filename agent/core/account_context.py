"""The identity in use, what is saved about it between runs, and the server's clock."""

from __future__ import annotations

from datetime import date, datetime, tzinfo

from msgspec.structs import replace

from agent.address import is_console_url
from agent.core import effects as do
from agent.core.credentials import NO_IDENTITY, Identity
from agent.core.deadline import ServerClock, days_left, seconds_to_midnight
from agent.core.effects import EffectQueue
from agent.core.events import Instant, Timer
from agent.core.saved_state import SavedState


class AccountContext:
    """Context of the account in use. Every change of the saved state is written to the disk."""

    def __init__(
        self, identity: Identity, saved: SavedState, *, local: tzinfo | None, emit: EffectQueue
    ) -> None:
        self._emit, self._local = emit, local
        self._clock = ServerClock(offset_s=saved.clock_offset_s)
        self._doubts_clock = False
        self.identity, self.saved_state = identity, saved

    def remember(self, **changes: object) -> None:
        saved_state = replace(self.saved_state, **changes)
        if saved_state != self.saved_state and self.identity != NO_IDENTITY:
            self.saved_state = saved_state
            self._emit(do.SaveState(self.identity, saved_state))

    def change_identity(self, identity: Identity) -> None:
        """Switch to another identity, with an empty saved state."""
        self.identity, self.saved_state = identity, SavedState()
        self._emit(do.SaveState(identity, self.saved_state))

    def set_server_time(self, server_time: datetime, now: Instant) -> None:
        self._clock = self._clock.set_to(server_time, now)
        self._doubts_clock = False

    def doubt_clock(self) -> None:
        """Count no days until the server sends its time, because the PC's date is doubtful."""
        self._doubts_clock = self._clock.server_time is None

    def set_old_password(self, valid_until: datetime | None, now: Instant) -> None:
        """Save the end of the old password in use, None when the password is current."""
        days = valid_until and days_left(valid_until, self._clock.at(now), self._local)
        self.remember(old_valid_until=valid_until, days_said=days)

    def remember_server(self, console_url: str | None) -> None:
        """Save the console's address, if it may be opened, and the clock's offset."""
        if console_url is not None and not is_console_url(console_url):
            console_url = None
        self.remember(clock_offset_s=round(self._clock.offset_s), console_url=console_url)

    def today(self, now: Instant) -> date:
        return self._clock.at(now).astimezone(self._local).date()

    def days_left(self, now: Instant) -> int | None:
        """Return the calendar days left to the old password in use.

        Return None when it is current or has ended, or when the clock is doubtful. Never return
        more days than the server has said, because the PC's clock may be slow.
        """
        saved, server_now = self.saved_state, self._clock.at(now)
        end = self.old_valid_until
        if end is None or server_now >= end:
            return None
        days = days_left(end, server_now, self._local)
        return days if saved.days_said is None else min(days, saved.days_said)

    @property
    def old_valid_until(self) -> datetime | None:
        """Return the end of the old password in use; None while the clock is doubtful."""
        return None if self._doubts_clock else self.saved_state.old_valid_until

    def watch_days(self, now: Instant) -> None:
        """Set the timer for the next change of the days left: midnight, or the password's end."""
        end, server_now = self.saved_state.old_valid_until, self._clock.at(now)
        if end is None or server_now >= end:
            self._emit(do.StopTimer(Timer.MIDNIGHT))
        else:
            wait = seconds_to_midnight(server_now, self._local)
            wait = min(wait, max(1.0, (end - server_now).total_seconds()))
            self._emit(do.StartTimer(Timer.MIDNIGHT, wait))
