"""How long an old password is still good: calendar days of this PC, by the server's clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from agent.core.events import Instant


@dataclass(frozen=True)
class ServerClock:
    """The server's time, carried on from its last word, so that a wrong PC clock misleads nobody.

    While the program runs the PC's steady clock carries it. For the time before the first login
    of a run there is only the PC's wall clock and the `offset_s` it had at the last login.
    """

    offset_s: float = 0.0
    said: datetime | None = None
    heard: float = 0.0

    def hear(self, server_time: datetime, now: Instant) -> ServerClock:
        """The clock after the server has said its time."""
        offset = (server_time - now.wall).total_seconds()
        return ServerClock(offset_s=offset, said=server_time, heard=now.steady)

    def at(self, now: Instant) -> datetime:
        """The server's time at `now`, UTC. A nonsensical sum reads as the PC's own time."""
        try:
            if self.said is not None:
                return self.said + timedelta(seconds=now.steady - self.heard)
            return now.wall + timedelta(seconds=self.offset_s)
        except OverflowError:
            return now.wall


def days_left(valid_until: datetime, server_now: datetime, local: tzinfo | None = None) -> int:
    """Midnights between now and the end, never negative; 0 is today.

    `local` is the time zone that days are counted in, None the PC's own.
    """
    end, now = valid_until.astimezone(local), server_now.astimezone(local)
    return max(0, (end.date() - now.date()).days)


def seconds_to_midnight(server_now: datetime, local: tzinfo | None = None) -> float:
    """From now to the beginning of the next local day, one second at least."""
    now = server_now.astimezone(local)
    tomorrow = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), now.tzinfo)
    return max(1.0, (tomorrow - now).total_seconds())
