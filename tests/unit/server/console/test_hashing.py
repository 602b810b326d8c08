"""The one queue of password hashing: people come before imports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event

import pytest

from server.console import hashing

run_when_idle = partial(hashing.run, when_idle=True)
Hold = Callable[[Callable[..., object]], Event]


@pytest.fixture
def end() -> Event:
    """Return the event that lets held hashes end."""
    return Event()


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch, end: Event) -> Iterator[Hold]:
    """`hold(run)` starts a hash on one of three threads; returns the event set at its begin."""
    monkeypatch.setattr(hashing, "_cores", 3)
    monkeypatch.setattr(hashing, "IMPORT_THREADS", 2)

    def hold(run: Callable[..., object]) -> Event:
        begun = Event()

        def work() -> None:
            begun.set()
            end.wait(10)

        callers.submit(run, work)
        return begun

    with ThreadPoolExecutor(3) as threads, ThreadPoolExecutor(9) as callers:
        monkeypatch.setattr(hashing, "_executor", threads)
        yield hold
        end.set()


def test_imports_leave_one_thread_free(hold: Hold, end: Event) -> None:
    """Of three threads, imports use two: a third one waits, a person's hash begins at once."""
    assert all(hold(run_when_idle).wait(10) for _ in range(2))
    third = hold(run_when_idle)
    assert hold(hashing.run).wait(10)
    assert not third.is_set()
    end.set()
    assert third.wait(10)


def test_imports_wait_for_people(hold: Hold, monkeypatch: pytest.MonkeyPatch) -> None:
    """While people use all threads, an import's hash waits, and then raises Busy."""
    monkeypatch.setattr(hashing, "IDLE_WAIT_S", 0.05)
    assert all(hold(hashing.run).wait(10) for _ in range(3))
    with pytest.raises(hashing.Busy):
        run_when_idle(lambda: None)


def test_a_full_queue(hold: Hold, end: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full queue raises Busy at once; there is room again once a hash has ended."""
    monkeypatch.setattr(hashing, "QUEUE_PER_CORE", 0)
    assert all(hold(hashing.run).wait(10) for _ in range(3))
    with pytest.raises(hashing.Busy):
        hashing.run(lambda: None)
    end.set()
    with hashing._changed:
        assert hashing._changed.wait_for(lambda: hashing._running["people"] == 0, 10)
    assert hashing.run(lambda: 7) == 7
