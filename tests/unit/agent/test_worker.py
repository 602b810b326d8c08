"""The thread for what blocks: order, results, and that it goes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from agent.worker import Worker


def _gone(name: str) -> bool:
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(10)
    return all(thread.name != name for thread in threading.enumerate())


def test_one_after_the_other_in_order() -> None:
    """Whatever thread submits: no job begins before the one before it has ended."""
    worker, done = Worker("in-order"), list[int]()
    gate = threading.Event()
    worker.submit(gate.wait, 10)
    futures = [worker.submit(done.append, number) for number in range(100)]
    assert done == []
    gate.set()
    for future in futures:
        future.result(10)
    assert done == list(range(100))


def test_its_thread_goes_and_comes_back() -> None:
    """Nothing to do, no thread; the next job has another one."""
    worker = Worker("comes-and-goes")
    first = worker.submit(threading.get_native_id).result(10)
    assert _gone("comes-and-goes")
    assert worker.submit(threading.get_native_id).result(10) != first
    assert _gone("comes-and-goes")


def test_several_at_a_time() -> None:
    """One that hangs holds up nobody; there are never more than that many."""
    worker = Worker("several", 2)
    gate = threading.Event()
    hanging = worker.submit(gate.wait, 10)
    for number in range(20):
        assert worker.submit(abs, -number).result(10) == number
        assert sum(thread.name == "several" for thread in threading.enumerate()) <= 2
    assert not hanging.done()
    gate.set()
    assert hanging.result(10)
    assert _gone("several")


def test_what_a_job_raises_is_for_whoever_waits() -> None:
    """The next job runs all the same."""
    worker = Worker("raises")
    broken = worker.submit(int, "no number")
    assert worker.submit(int, "7").result(10) == 7
    with pytest.raises(ValueError, match="no number"):
        broken.result(10)


def test_a_cancelled_job_does_not_run() -> None:
    """And does not hold up the others."""
    worker, done = Worker("cancels"), list[str]()
    gate = threading.Event()
    worker.submit(gate.wait, 10)
    never = worker.submit(done.append, "never")
    last = worker.submit(done.append, "last")
    assert never.cancel()
    gate.set()
    last.result(10)
    assert done == ["last"]


@pytest.mark.parametrize("cancel", [False, True])
def test_shutdown(cancel: bool) -> None:
    """What has begun is finished; what waits is done or cancelled; nothing more is taken."""
    worker, done = Worker("ends"), list[str]()
    gate, begun = threading.Event(), threading.Event()

    def first() -> None:
        begun.set()
        gate.wait(10)
        done.append("first")

    worker.submit(first)
    second: Callable[[], None] = lambda: done.append("second")  # noqa: E731 - it is passed on
    waiting = worker.submit(second)
    assert begun.wait(10)
    worker.shutdown(wait=False, cancel_futures=cancel)
    with pytest.raises(RuntimeError, match="after the end"):
        worker.submit(second)
    gate.set()
    worker.shutdown()
    assert done == (["first"] if cancel else ["first", "second"])
    assert waiting.cancelled() is cancel
    assert _gone("ends")


async def test_asyncio_takes_it() -> None:
    """For its default, where names are looked up."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(Worker("default"))
    assert await asyncio.to_thread(lambda: threading.current_thread().name) == "default"
    assert await loop.getaddrinfo("127.0.0.1", 80)
