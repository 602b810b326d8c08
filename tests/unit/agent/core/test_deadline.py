"""Days left: calendar days in the PC's time zone, by the server's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.deadline import ServerClock, days_left, local_time, seconds_to_midnight
from agent.core.events import Instant

TOKYO, BERLIN, NEW_YORK = (ZoneInfo(n) for n in ("Asia/Tokyo", "Europe/Berlin", "America/New_York"))
SANTIAGO = ZoneInfo("America/Santiago")  # its clocks change at midnight
APIA = ZoneInfo("Pacific/Apia")  # skipped 30 December 2011
ZONES = [UTC, TOKYO, BERLIN, NEW_YORK, SANTIAGO, APIA, ZoneInfo("Asia/Kathmandu")]
zones = st.sampled_from(ZONES)
moments = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def at(text: str, zone: tzinfo) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


@pytest.mark.parametrize(
    ("end", "now", "zone", "expected"),
    [
        ("2026-12-31T10:00", "2026-12-01T23:59", TOKYO, 30),
        ("2026-12-31T10:00", "2026-12-02T00:00", TOKYO, 29),
        ("2026-12-31T10:00", "2026-12-31T09:59", TOKYO, 0),
        ("2026-12-31T10:00", "2027-02-01T10:00", TOKYO, 0),  # never negative
        ("2028-03-01T10:00", "2028-02-28T10:00", TOKYO, 2),  # over a leap day
        ("2026-04-10T10:00", "2026-03-11T10:00", BERLIN, 30),  # spring forward
        ("2026-11-10T00:30", "2026-10-11T00:30", BERLIN, 30),  # fall back
        ("2026-11-01T23:30", "2026-11-01T00:30", NEW_YORK, 0),  # a day of 25 hours
        ("2026-09-07T00:30", "2026-09-05T23:30", SANTIAGO, 2),  # no midnight
    ],
)
def test_days_are_calendar_days(end: str, now: str, zone: tzinfo, expected: int) -> None:
    """Days left are the midnights in the PC's zone, also where clocks change in between."""
    assert days_left(at(end, zone), at(now, zone), zone) == expected


def test_the_zone_decides_what_today_is() -> None:
    """The same two moments are on different days in Tokyo and on one day in New York."""
    now, end = datetime(2026, 12, 1, 14, tzinfo=UTC), datetime(2026, 12, 1, 16, tzinfo=UTC)
    assert days_left(end, now, TOKYO) == 1
    assert days_left(end, now, NEW_YORK) == 0
    assert days_left(end, now) in {0, 1}


@given(moments, st.timedeltas(timedelta(0), timedelta(days=40)), zones)
def test_thirty_days_begin_with_thirty(now: datetime, later: timedelta, zone: tzinfo) -> None:
    """Days left begin with 30 (29 or 31 where clocks change), and never grow later."""
    end = now + timedelta(days=30)
    first = days_left(end, now, zone)
    assert abs(first - 30) <= 1
    assert 0 <= days_left(end, now + later, zone) <= first


@given(moments, zones)
def test_midnight_is_where_the_day_changes(now: datetime, zone: tzinfo) -> None:
    """After `seconds_to_midnight` it is the next day; 1.001 s earlier it is still today."""
    wait = seconds_to_midnight(now, zone)
    assert 1 <= wait <= 49 * 3600
    today = now.astimezone(zone).date()
    assert (now + timedelta(seconds=wait)).astimezone(zone).date() > today
    if wait > 1:
        before = now + timedelta(seconds=wait - 1.001)
        assert before.astimezone(zone).date() == today


@pytest.mark.parametrize(
    ("now", "zone", "hours"),
    [
        ("2026-03-29T00:00", BERLIN, 23),
        ("2026-10-25T00:00", BERLIN, 25),
        ("2026-12-31T00:00", TOKYO, 24),
        ("2026-09-05T12:00", SANTIAGO, 12),
    ],
)
def test_days_of_other_lengths(now: str, zone: tzinfo, hours: int) -> None:
    """A day on which clocks change has 23 or 25 hours."""
    assert seconds_to_midnight(at(now, zone), zone) == hours * 3600


@given(moments, st.timedeltas(timedelta(days=-3650), timedelta(days=3650)), st.floats(0, 1e7))
def test_a_wrong_pc_clock_does_not_mislead(
    truth: datetime, error: timedelta, passed: float
) -> None:
    """With a PC clock wrong by up to 10 years, the server's time is known to the second."""
    clock = ServerClock().set_to(truth, Instant(truth + error, 1000.0))
    later = truth + timedelta(seconds=passed)
    # in this run by the steady clock, even if the PC's clock is set
    assert abs(clock.at(Instant(truth - error, 1000.0 + passed)) - later) < timedelta(seconds=1)
    # in the next run by the saved offset
    next_run = ServerClock(offset_s=clock.offset_s)
    assert abs(next_run.at(Instant(later + error, 5.0)) - later) < timedelta(seconds=1)


EXTREMES = [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]


@pytest.mark.parametrize("server_time", EXTREMES)
@pytest.mark.parametrize("zone", [TOKYO, NEW_YORK, None])
def test_a_nonsensical_server_harms_nobody(server_time: datetime, zone: tzinfo | None) -> None:
    """Times at either end of the calendar raise no exception."""
    now = Instant(datetime(2026, 12, 1, tzinfo=UTC), 1.0)
    assert ServerClock().at(now) == now.wall, "before the first login the PC is believed"
    clock = ServerClock().set_to(server_time, now)
    for moment in (clock.at(now), clock.at(Instant(now.wall, 1e6))):
        assert all(days_left(end, moment, zone) >= 0 for end in EXTREMES)
        assert seconds_to_midnight(moment, zone) >= 1
    assert ServerClock(offset_s=clock.offset_s).at(Instant(EXTREMES[1], 1.0)).tzinfo is UTC
    years = {1970, 1971} if server_time is EXTREMES[0] else {2998, 2999}
    assert local_time(server_time, zone).year in years
