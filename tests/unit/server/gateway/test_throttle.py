"""The throttle: limits of refused logins."""

from __future__ import annotations

import time

import pytest

from server.config import Config
from server.gateway import throttle
from server.gateway.throttle import Throttle, Window

LIMITS = Config(refusals_per_device=10, refusals_per_address=200, refusals_per_user=50)
HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"


@pytest.fixture
def counts() -> Throttle:
    return Throttle(LIMITS)


def test_user_and_address(counts: Throttle) -> None:
    """A limit counts per user and address; a right password clears the count."""
    here = counts.guesses("tanaka", HERE)
    for _ in range(LIMITS.refusals_per_device):
        assert here.wait_s() == 0
        here.on_refused()
    assert 1 <= here.wait_s() <= 300
    assert counts.guesses("tanaka", ELSEWHERE).wait_s() == 0
    assert counts.guesses("suzuki", HERE).wait_s() == 0
    here.on_accepted()
    assert here.wait_s() == 0


@pytest.mark.parametrize("known", [True, False])
def test_address(counts: Throttle, *, known: bool) -> None:
    """One address has a limit over all names, also names that cannot exist."""
    for number in range(LIMITS.refusals_per_address):
        counts.guesses(f"user{number}" if known else None, HERE).on_refused()
    assert counts.guesses("tanaka", HERE).wait_s() > 0
    assert counts.guesses(None, HERE).wait_s() > 0
    assert counts.guesses("tanaka", ELSEWHERE).wait_s() == 0


def test_user_from_everywhere(counts: Throttle) -> None:
    """A user has a limit over all addresses; the addresses of one /64 count as one."""
    for number in range(LIMITS.refusals_per_user):
        counts.guesses("tanaka", f"192.0.2.{number}").on_refused()
        if number < LIMITS.refusals_per_device:
            counts.guesses("suzuki", f"2001:db8::{number:x}").on_refused()
    assert counts.guesses("tanaka", "198.51.100.1").wait_s() > 0
    assert counts.guesses("suzuki", "2001:db8::ffff").wait_s() > 0
    assert counts.guesses("suzuki", "2001:db8:0:1::1").wait_s() == 0


@pytest.mark.parametrize(
    ("unlocked", "other"), [("tanaka", "suzuki"), ("tanaka", "ko tanaka"), ("ko tanaka", "tanaka")]
)
def test_forget(counts: Throttle, unlocked: str, other: str) -> None:
    """`forget` unlocks one user everywhere; other users and addresses stay limited."""
    for user in (unlocked, other):
        for number in range(LIMITS.refusals_per_user):
            counts.guesses(user, HERE, known_device="d" if number % 2 else None).on_refused()
            counts.guesses(user, f"198.51.100.{number}").on_refused()
    counts.forget(unlocked)
    for user, is_locked in ((unlocked, False), (other, True)):
        for address in (HERE, ELSEWHERE):
            assert (counts.guesses(user, address).wait_s() > 0) is is_locked
        assert (counts.guesses(user, HERE, known_device="d").wait_s() > 0) is is_locked


def test_known_device(counts: Throttle) -> None:
    """A known device has a limit of its own, from any address, in place of its address's limit."""
    for number in range(LIMITS.refusals_per_address):
        counts.guesses(f"user{number}", HERE).on_refused()
        counts.guesses("tanaka", HERE).on_refused()
    assert counts.guesses("tanaka", HERE).wait_s() > 0
    known = counts.guesses("tanaka", HERE, known_device="pc")
    for _ in range(LIMITS.refusals_per_device):
        assert known.wait_s() == 0
        known.on_refused()
    assert counts.guesses("tanaka", ELSEWHERE, known_device="pc").wait_s() > 0
    assert counts.guesses("tanaka", HERE, known_device="other").wait_s() == 0
    known.on_accepted()
    assert known.wait_s() == 0


def test_window_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each refusal counts for the length of the window."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    window = Window(2, 60)
    window.add("a")
    now = 1030.0
    window.add("a")
    assert window.wait_s("a") == 30
    now = 1060.0
    assert window.wait_s("a") == 0


def test_sweep(counts: Throttle, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep forgets past refusals in every count, and nothing else."""
    for known in (None, "pc"):
        counts.guesses("tanaka", HERE, known_device=known).on_refused()
    for seconds, left in ((0, [1, 1, 1, 1]), (301, [0, 0, 0, 1]), (601, [0, 0, 0, 0])):
        later = time.monotonic() + seconds
        with monkeypatch.context() as patch:
            patch.setattr(time, "monotonic", lambda later=later: later)
            counts.sweep()
        assert [len(window) for window in counts._all] == left


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded: at the limit the oldest key is dropped for a new one."""
    monkeypatch.setattr(throttle, "MAX_KEYS", 3)
    window = Window(2, 60)
    for number in range(10):
        for key in (str(number), "kept", "kept"):
            window.add(key)
    assert len(window) == 3
    assert window.wait_s("kept") > 0
