"""The server's clock, in one place so that a demonstration can move it.

Every deadline (old passwords, pending changes) is counted by this clock; sessions and
lockouts of the console are Django's and go by the real one.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_offset = timedelta()


def now() -> datetime:
    """The time in UTC, aware."""
    return datetime.now(UTC) + _offset


def move(by: timedelta) -> None:
    """Move this process's clock: only the demonstration and tests do."""
    global _offset  # noqa: PLW0603 - one clock a process is the point
    _offset += by
