"""Counting refused passwords."""

from __future__ import annotations

import time

import pytest

from server.gateway.limits import Limits
from server.gateway.throttle import Throttle, Window

LIMITS = Limits(refused_per_device=10, refused_per_address=200, refused_per_user=50)
HERE = "192.0.2.1"


@pytest.fixture
def throttle() -> Throttle:
    return Throttle(LIMITS)


def test_user_and_address(throttle: Throttle) -> None:
    """The limit is for this user from this address; a right password clears the count."""
    for _ in range(LIMITS.refused_per_device):
        assert throttle.wait_s(user="tanaka", address=HERE) == 0
        throttle.on_refused(user="tanaka", address=HERE)
    assert 1 <= throttle.wait_s(user="tanaka", address=HERE) <= 300
    assert throttle.wait_s(user="tanaka", address="192.0.2.2") == 0
    assert throttle.wait_s(user="suzuki", address=HERE) == 0
    throttle.on_accepted(user="tanaka", address=HERE)
    assert throttle.wait_s(user="tanaka", address=HERE) == 0


@pytest.mark.parametrize("known", [True, False])
def test_address(throttle: Throttle, *, known: bool) -> None:
    """Trying many users from one address ends, with names that exist and names that cannot."""
    for number in range(LIMITS.refused_per_address):
        throttle.on_refused(user=f"user{number}" if known else None, address=HERE)
    assert throttle.wait_s(user="tanaka", address=HERE) > 0
    assert throttle.wait_s(user=None, address=HERE) > 0
    assert throttle.wait_s(user="tanaka", address="192.0.2.2") == 0


def test_user_from_everywhere(throttle: Throttle) -> None:
    """Many addresses are no way round the limit of a user."""
    for number in range(LIMITS.refused_per_user):
        throttle.on_refused(user="tanaka", address=f"192.0.2.{number}")
    assert throttle.wait_s(user="tanaka", address="198.51.100.1") > 0


def test_known_device_passes(throttle: Throttle) -> None:
    """Guesses from the same office, or at the same user, do not shut out a known device."""
    for number in range(LIMITS.refused_per_address):
        throttle.on_refused(user=f"user{number}", address=HERE)
        throttle.on_refused(user="tanaka", address=HERE)
    assert throttle.wait_s(user="tanaka", address=HERE) > 0
    assert throttle.wait_s(user="tanaka", address=HERE, known_device="pc") == 0


def test_known_device_has_a_limit(throttle: Throttle) -> None:
    """The id of a known device is no way to guess without limit."""
    for _ in range(LIMITS.refused_per_device):
        assert throttle.wait_s(user="tanaka", address=HERE, known_device="pc") == 0
        throttle.on_refused(user="tanaka", address=HERE, known_device="pc")
    assert throttle.wait_s(user="tanaka", address="192.0.2.2", known_device="pc") > 0
    assert throttle.wait_s(user="tanaka", address=HERE, known_device="other") == 0
    throttle.on_accepted(user="tanaka", address=HERE, known_device="pc")
    assert throttle.wait_s(user="tanaka", address=HERE, known_device="pc") == 0


def test_ipv6_counts_by_network(throttle: Throttle) -> None:
    """All addresses of one /64 are one guesser."""
    for number in range(LIMITS.refused_per_device):
        throttle.on_refused(user="tanaka", address=f"2001:db8::{number:x}")
    assert throttle.wait_s(user="tanaka", address="2001:db8::ffff") > 0
    assert throttle.wait_s(user="tanaka", address="2001:db8:0:1::1") == 0


def test_window_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each event counts for the window's length, and a sweep forgets those that are past."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    window = Window(2, 60)
    window.add("a")
    now = 1030.0
    window.add("a")
    assert window.wait_s("a") == 30
    now = 1060.0
    assert window.wait_s("a") == 0
    window.add("b")
    window.sweep()
    assert len(window) == 2
    now = 1091.0
    window.sweep()
    assert len(window) == 1


def test_memory_is_bounded() -> None:
    """Strangers cannot fill the memory: the oldest key makes room for a new one."""
    window = Window(2, 60, max_keys=3)
    for number in range(10):
        window.add(str(number))
        window.add("kept")
        window.add("kept")
    assert len(window) == 3
    assert window.wait_s("kept") > 0
