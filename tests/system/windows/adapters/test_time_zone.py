"""Local time follows the PC's zone while the program runs."""

from __future__ import annotations

import time

import pytest

from agent.runtime import follow_time_zone


def test_the_zone_is_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed time zone is used at once."""
    for zone, hour in (("JST-9", 9), ("EST5", 19)):
        monkeypatch.setenv("TZ", zone)
        follow_time_zone()
        assert time.localtime(0).tm_hour == hour
    monkeypatch.delenv("TZ")
    follow_time_zone()
