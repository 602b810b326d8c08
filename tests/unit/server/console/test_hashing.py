"""The one queue of password hashing: people come before imports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Event

import pytest

from server.console import hashing

run_when_idle = partial(hashing.run, when_idle=True)

Submit = Callable[[Callable[[], object]], Future[object]]


@pytest.fixture
def executor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Submit]:
    """Callers' threads, and an executor as on a machine with three cores."""
    monkeypatch.setattr(hashing, "_cores", 3)
    monkeypatch.setattr(hashing, "IMPORT_THREADS", 2)
    with ThreadPoolExecutor(3) as threads, ThreadPoolExecutor(500) as callers:
        monkeypatch.setattr(hashing, "_executor", threads)
        yield callers.submit


def held(submit: Submit, run: Callable[[Callable[[], object]], object], end: Event) -> Event:
    """Have a caller hash until `end`; return what says that the hashing has begun."""
    begun = Event()

    def work() -> None:
        begun.set()
        assert end.wait(10)

    submit(lambda: run(work))
    return begun


def test_imports_leave_one_thread_free(executor: Submit) -> None:
    """A third import waits, while a person's hash begins at once."""
    end = Event()
    try:
        for _ in range(2):
            assert held(executor, run_when_idle, end).wait(10)
        third = held(executor, run_when_idle, end)
        assert held(executor, hashing.run, end).wait(10)
        assert not third.is_set()
    finally:
        end.set()
    assert third.wait(10)


def test_imports_wait_for_people(executor: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as people need all threads no import begins; its job gets Busy."""
    monkeypatch.setattr(hashing, "IDLE_WAIT_S", 0.05)
    end = Event()
    try:
        for _ in range(3):
            assert held(executor, hashing.run, end).wait(10)
        with pytest.raises(hashing.Busy):
            hashing.run(lambda: None, when_idle=True)
    finally:
        end.set()


def test_a_full_queue(executor: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller gets Busy at once, and there is room again after a hash."""
    monkeypatch.setattr(hashing, "QUEUE_PER_CORE", 0)
    end = Event()
    begun = [held(executor, hashing.run, end) for _ in range(3)]
    assert all(each.wait(10) for each in begun)
    with pytest.raises(hashing.Busy):
        hashing.run(lambda: None)
    end.set()
    with hashing._changed:
        assert hashing._changed.wait_for(lambda: hashing._running["people"] == 0, 10)
    assert hashing.run(lambda: 7) == 7
