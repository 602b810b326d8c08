"""Days left to an old password: calendar days of this PC, counted by the server's clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo

from agent.core.events import Instant

_EARLIEST, _LATEST = datetime(1971, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)
"""Every operating system can convert times in this span to local time. Others are clipped."""


@dataclass(frozen=True)
class ServerClock:
    """The server's clock, so that a wrong clock of the PC does no harm.

    After the server has sent `server_time`, received at `steady`, the PC's steady clock counts on
    from it. Before the first login of a run, the server's time is the PC's wall clock plus
    `offset_s` seconds, as at the last login.
    """

    offset_s: float = 0.0
    server_time: datetime | None = None
    steady: float = 0.0

    def set_to(self, server_time: datetime, now: Instant) -> ServerClock:
        """Return a clock set to `server_time`, received at `now`."""
        sane = _sane(server_time)
        return ServerClock((sane - now.wall).total_seconds(), sane, now.steady)

    def at(self, now: Instant) -> datetime:
        """Return the server's time at `now`, UTC; the PC's own time when the sum overflows."""
        try:
            if self.server_time is not None:
                return _sane(self.server_time + timedelta(seconds=now.steady - self.steady))
            return _sane(now.wall + timedelta(seconds=self.offset_s))
        except OverflowError:
            return _sane(now.wall)


def local_time(moment: datetime, zone: tzinfo | None = None) -> datetime:
    """Return `moment` in `zone`, or in the PC's zone for None. Never raise."""
    return _sane(moment).astimezone(zone)


def days_left(valid_until: datetime, server_now: datetime, local: tzinfo | None = None) -> int:
    """Return the number of midnights until `valid_until`, in `local` or else the PC's own zone."""
    end, now = local_time(valid_until, local), local_time(server_now, local)
    return max(0, (end.date() - now.date()).days)


def seconds_to_midnight(server_now: datetime, local: tzinfo | None = None) -> float:
    """Return the seconds until the next local day begins, at least one."""
    now = local_time(server_now, local)
    midnight = datetime.combine(now.date() + timedelta(days=1), time.min, local)
    # Subtract in UTC: the difference of two local times ignores a change of clocks.
    return max(1.0, (midnight.astimezone(UTC) - now.astimezone(UTC)).total_seconds())


def _sane(moment: datetime) -> datetime:
    return min(max(moment, _EARLIEST), _LATEST)
