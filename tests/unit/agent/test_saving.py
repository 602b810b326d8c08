"""Writes of settings and state that fail for a while."""

from __future__ import annotations

import asyncio
import threading

from agent.core.credentials import Identity
from agent.core.effects import SaveIdentity
from agent.saving import Saver
from agent.threads import DaemonThreads
from tests.support.fakes import FakeSavedStateStore
from tests.support.vault_contract import TANAKA


async def test_a_write_without_a_thread_is_tried_again() -> None:
    """A system that has no thread left for a moment does not end the tries to save."""
    asyncio.get_running_loop().set_default_executor(DaemonThreads())
    saved = list[Identity]()
    saver = Saver(saved.append, FakeSavedStateStore().save)
    before = threading.stack_size(2**46)  # more than any process may have
    try:
        work = asyncio.create_task(saver.save(SaveIdentity(TANAKA)))
        await asyncio.sleep(0)
        assert not await saver.all_written()
    finally:
        threading.stack_size(before)
    assert not work.done()
    assert await saver.all_written()
    assert saved == [TANAKA]
    work.cancel()
