"""A daemon thread for each blocking call."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from agent.threads import MAX_CALLS, DaemonThreads


def test_a_call_and_its_result() -> None:
    """The future has what the call returns or raises, and the thread ends with the call."""
    threads = DaemonThreads()
    assert threads.submit(int, "7").result(10) == 7
    with pytest.raises(ValueError, match="no number"):
        threads.submit(int, "no number").result(10)
    for thread in threading.enumerate():
        if thread.name == "coconowork-int":
            thread.join(10)


def test_calls_that_hang_are_limited() -> None:
    """One that hangs delays no other; too many of them are refused."""
    threads, gate = DaemonThreads(), threading.Event()
    hanging = [threads.submit(gate.wait, 20) for _ in range(MAX_CALLS - 1)]
    assert threads.submit(abs, -1).result(10) == 1
    # The place of a call is free a moment after its result.
    last = None
    while last is None:
        try:
            last = threads.submit(gate.wait, 20)
        except OSError:
            continue
    with pytest.raises(OSError, match="too many calls hang"):
        threads.submit(abs, -1)
    gate.set()
    assert all(each.result(10) for each in [*hanging, last])


async def test_asyncio_takes_it_as_its_default() -> None:
    """Names are looked up there."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(DaemonThreads())
    assert await asyncio.to_thread(lambda: threading.current_thread().daemon)
    assert await loop.getaddrinfo("127.0.0.1", 80)


def test_the_program_ends_while_a_call_hangs() -> None:
    """The interpreter joins no such thread."""
    code = "import time; from agent.threads import *; DaemonThreads().submit(time.sleep, 1000)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20)


def test_a_system_without_threads() -> None:
    """Calls fail as long as no thread can be started, and none of them takes a place for ever."""
    threads = DaemonThreads()
    before = threading.stack_size(2**46)  # more than any process may have
    try:
        for _ in range(MAX_CALLS + 1):
            with pytest.raises(OSError, match="can't start new thread"):
                threads.submit(abs, -1)
    finally:
        threading.stack_size(before)
    assert threads.submit(abs, -1).result(10) == 1
