"""What runs beside everything else, and who keeps it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger(__name__)


class Tasks:
    """Keeps what is under way until it is done."""

    def __init__(self) -> None:
        self._running: set[asyncio.Future[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work`. What it raises is logged."""
        task = asyncio.get_running_loop().create_task(work)
        self.keep(task)
        task.add_done_callback(_log_failure)

    def keep(self, future: asyncio.Future[Any]) -> None:
        """`drain` waits for it. What it raises is for others to look at."""
        self._running.add(future)
        future.add_done_callback(self._running.discard)

    async def drain(self) -> None:
        """Wait until nothing runs any more."""
        while self._running:
            await asyncio.wait(self._running)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (exc := task.exception()) is not None:
        log.error("work beside the connections failed", exc_info=exc)
