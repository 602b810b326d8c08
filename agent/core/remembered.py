"""What is known of the identity in use between runs and logins: memory and the server's clock."""

from __future__ import annotations

from datetime import date, datetime, tzinfo

from msgspec.structs import replace

from agent.address import is_console_url
from agent.core import effects as do
from agent.core.credentials import Identity
from agent.core.deadline import ServerClock, days_left, seconds_to_midnight
from agent.core.effects import EffectQueue
from agent.core.events import Instant, Timer
from agent.core.saved_state import SavedState


class AccountContext:
    """Saves whatever changes. `local` is the time zone of calendar days, None the PC's."""

    def __init__(
        self,
        identity: Identity | None,
        memory: SavedState,
        *,
        local: tzinfo | None,
        outbox: EffectQueue,
    ) -> None:
        self._do = outbox
        self._local = local
        self._clock = ServerClock(offset_s=memory.clock_offset_s)
        self.identity = identity
        self.memory = memory

    def remember(self, **changes: object) -> None:
        """Change fields of the memory."""
        memory = replace(self.memory, **changes)
        if memory != self.memory and self.identity is not None:
            self.memory = memory
            self._do(do.SaveState(self.identity, memory))

    def change_identity(self, identity: Identity) -> None:
        """Serve somebody else from now on, of whom nothing is known."""
        self.identity, self.memory = identity, SavedState()
        self._do(do.SaveIdentity(identity), do.SaveState(identity, self.memory))

    def hear(self, server_time: datetime, now: Instant) -> None:
        """The server has said its time."""
        self._clock = self._clock.hear(server_time, now)

    def remember_server(self, console_url: str | None) -> None:
        """Keep what a login has told, for the next run; an address only if it may be opened."""
        if console_url is not None and not is_console_url(console_url):
            console_url = None
        self.remember(clock_offset_s=round(self._clock.offset_s), console_url=console_url)

    def server_now(self, now: Instant) -> datetime:
        """The server's time, UTC."""
        return self._clock.at(now)

    def today(self, now: Instant) -> date:
        """The local day by the server's clock."""
        return self.server_now(now).astimezone(self._local).date()

    def days_left(self, now: Instant) -> int | None:
        """Calendar days that the old password in use is still good; None when it is current."""
        valid_until = self.memory.old_valid_until
        if valid_until is None:
            return None
        return days_left(valid_until, self.server_now(now), self._local)

    def watch_days(self, now: Instant) -> None:
        """Come back at midnight, when there is a day less to show."""
        if self.memory.old_valid_until is None:
            self._do(do.StopTimer(Timer.MIDNIGHT))
        else:
            wait = seconds_to_midnight(self.server_now(now), self._local)
            self._do(do.StartTimer(Timer.MIDNIGHT, wait))
