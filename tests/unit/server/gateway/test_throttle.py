"""Counting refused passwords."""

from __future__ import annotations

import time

import pytest

from server.gateway.throttle import PER_ADDRESS, PER_USER, PER_USER_AND_ADDRESS, Throttle


def test_user_and_address() -> None:
    """The limit is for this user from this address; others go on, and the wait is within it."""
    throttle = Throttle()
    for _ in range(PER_USER_AND_ADDRESS.amount):
        assert throttle.wait_s(user="tanaka", address="192.0.2.1") == 0
        throttle.refused(user="tanaka", address="192.0.2.1")
    assert 1 <= throttle.wait_s(user="tanaka", address="192.0.2.1") <= 300
    assert throttle.wait_s(user="tanaka", address="192.0.2.2") == 0
    assert throttle.wait_s(user="suzuki", address="192.0.2.1") == 0
    throttle.accepted(user="tanaka", address="192.0.2.1")
    assert throttle.wait_s(user="tanaka", address="192.0.2.1") == 0


def test_address() -> None:
    """Trying many users from one address ends, too."""
    throttle = Throttle()
    for number in range(PER_ADDRESS.amount):
        throttle.refused(user=f"user{number}", address="192.0.2.1")
    assert throttle.wait_s(user="tanaka", address="192.0.2.1") > 0
    assert throttle.wait_s(user="tanaka", address="192.0.2.2") == 0


def test_user_from_everywhere() -> None:
    """Many addresses are no way round; but a PC that the user is known on is let through."""
    throttle = Throttle()
    for number in range(PER_USER.amount):
        throttle.refused(user="tanaka", address=f"192.0.2.{number}")
    assert throttle.wait_s(user="tanaka", address="198.51.100.1") > 0
    assert throttle.wait_s(user="tanaka", address="198.51.100.1", known_device=True) == 0


def test_ipv6_counts_by_site() -> None:
    """Who has a /64 does not have 2**64 tries."""
    throttle = Throttle()
    for number in range(PER_USER_AND_ADDRESS.amount):
        throttle.refused(user="tanaka", address=f"2001:db8::{number:x}")
    assert throttle.wait_s(user="tanaka", address="2001:db8::ffff") > 0
    assert throttle.wait_s(user="tanaka", address="2001:db8:0:1::1") == 0


def test_time_heals_and_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the window the user may try again, and a sweep leaves no trace of the past."""
    throttle = Throttle()
    for _ in range(PER_USER_AND_ADDRESS.amount):
        throttle.refused(user="tanaka", address="192.0.2.1")
    assert throttle.wait_s(user="tanaka", address="192.0.2.1") > 0
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + PER_USER.get_expiry() + 1)
    assert throttle.wait_s(user="tanaka", address="192.0.2.1") == 0
    throttle.sweep()
    # The storage empties its lists in a timer's thread, after the next refusal.
    throttle.refused(user="suzuki", address="192.0.2.2")
    throttle._storage.timer.join()
    throttle.sweep()
    assert not any("tanaka" in key for key in throttle._storage.events)
