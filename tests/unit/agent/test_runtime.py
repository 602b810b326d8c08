"""The end of the runtime: what is handed over late is cancelled, and nothing is left behind."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future

from agent.core import events as ev
from tests.support.runtimes import runtime_in_memory


def test_work_that_is_begun_at_the_end_is_cancelled() -> None:
    """Nothing waits for ever, also for work that comes while the loop ends."""
    runtime = runtime_in_memory("ws://127.0.0.1:1/gateway", password="x")
    began, late = threading.Event(), list[Future[None]]()

    async def work() -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            late.append(runtime.begin(asyncio.sleep(60)))

    runtime.start()
    early = runtime.begin(work())
    assert began.wait(20)
    runtime.post(ev.QuitRequested())
    assert runtime.join(20)
    assert early.cancelled()
    assert late[0].cancelled()
    assert runtime.begin(asyncio.sleep(60)).cancelled()
