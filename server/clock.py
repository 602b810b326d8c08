"""Tell the server's time, in one place so that a demonstration can move it.

Every deadline (old passwords, pushes) counts by this clock. Sessions and lockouts of the console
count by real time.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_offset = timedelta()


def now() -> datetime:
    """Return the server's time, as an aware datetime in UTC."""
    return datetime.now(UTC) + _offset


def move(by: timedelta) -> None:
    """Move the clock of this process; for the demonstration and tests only."""
    global _offset  # noqa: PLW0603 - a process has one clock
    _offset += by
