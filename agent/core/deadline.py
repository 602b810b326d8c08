"""How long an old password is still good: calendar days of this PC, by the server's clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo

from agent.core.events import Instant

_EARLIEST, _LATEST = datetime(1971, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)
"""Between them every operating system can tell local time; nonsense counts as one of them."""


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
        said = _sane(server_time)
        return ServerClock((said - now.wall).total_seconds(), said, now.steady)

    def at(self, now: Instant) -> datetime:
        """The server's time at `now`, UTC. A nonsensical sum reads as the PC's own time."""
        try:
            if self.said is not None:
                return _sane(self.said + timedelta(seconds=now.steady - self.heard))
            return _sane(now.wall + timedelta(seconds=self.offset_s))
        except OverflowError:
            return _sane(now.wall)


def local_time(moment: datetime, zone: tzinfo | None = None) -> datetime:
    """`moment` on the clock of `zone`, None the PC's; never raises, whatever a server has said."""
    return _sane(moment).astimezone(zone)


def days_left(valid_until: datetime, server_now: datetime, local: tzinfo | None = None) -> int:
    """Midnights between now and the end, never negative; 0 is today.

    `local` is the time zone that days are counted in, None the PC's own.
    """
    end, now = local_time(valid_until, local), local_time(server_now, local)
    return max(0, (end.date() - now.date()).days)


def seconds_to_midnight(server_now: datetime, local: tzinfo | None = None) -> float:
    """From now to the beginning of the next local day, one second at least."""
    now = local_time(server_now, local)
    midnight = datetime.combine(now.date() + timedelta(days=1), time.min, local)
    # In UTC, because between two local times a change of clocks does not count.
    return max(1.0, (midnight.astimezone(UTC) - now.astimezone(UTC)).total_seconds())


def _sane(moment: datetime) -> datetime:
    return min(max(moment, _EARLIEST), _LATEST)
