"""Blocking calls run on a daemon thread each."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from agent.core.credentials import Identity
from agent.core.effects import SaveIdentity
from agent.core.failure import Reason
from agent.ports import VaultError
from agent.saving import Saver
from agent.threads import MAX_CALLS, DaemonThreads
from agent.vault_calls import VaultCalls
from tests.support.fakes import FakeSavedStateStore, FakeVault
from tests.support.vault_contract import TANAKA


async def test_calls_and_their_results() -> None:
    """The future has the call's result or exception, also as asyncio's default executor."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(DaemonThreads())
    assert await asyncio.to_thread(lambda: threading.current_thread().daemon)
    with pytest.raises(ValueError, match="no number"):
        await asyncio.to_thread(int, "no number")
    assert await loop.getaddrinfo("127.0.0.1", 80)


def test_calls_that_hang_are_limited() -> None:
    """A call that hangs delays no other; above the limit, calls are refused."""
    threads, gate = DaemonThreads(), threading.Event()
    hanging = [threads.submit(gate.wait, 20) for _ in range(MAX_CALLS - 1)]
    assert threads.submit(abs, -1).result(10) == 1
    # A call's place becomes free shortly after its result.
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


def test_the_program_ends_while_a_call_hangs() -> None:
    """The interpreter ends without waiting for a call that hangs."""
    code = "import time; from agent.threads import *; DaemonThreads().submit(time.sleep, 1000)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20)


async def test_a_system_without_threads() -> None:
    """When no thread can start, calls fail and free their place; vault and files retry."""
    threads, calls, saved = DaemonThreads(), VaultCalls(FakeVault()), list[Identity]()
    asyncio.get_running_loop().set_default_executor(threads)
    saver = Saver(saved.append, FakeSavedStateStore().save)
    before = threading.stack_size(2**46)  # more than a process may have
    try:
        for _ in range(MAX_CALLS + 1):
            with pytest.raises(OSError, match="can't start new thread"):
                threads.submit(abs, -1)
        with pytest.raises(VaultError) as caught:
            await calls.read(TANAKA)
        saving = asyncio.create_task(saver.save(SaveIdentity(TANAKA)))
        await asyncio.sleep(0)
        assert not await saver.all_written()
    finally:
        threading.stack_size(before)
    assert caught.value.reason is Reason.VAULT_NO_ANSWER
    assert await calls.read(TANAKA) is None
    assert not saving.done()
    assert await saver.all_written()
    assert saved == [TANAKA]
    saving.cancel()
