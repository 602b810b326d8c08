"""Run the server's essential tasks: log an unexpected exception, and restart the task."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

from server import metrics

log = logging.getLogger(__name__)

RESTART_SECONDS = (1.0, 30.0)
"""The first and the longest pause before a restart; each pause is twice the last one."""
STEADY_SECONDS = 30.0
"""A task that has run for this long counts as healthy again."""


class Supervision:
    """Restart one task, and know whether it is healthy."""

    def __init__(self) -> None:
        self._failed_at: float | None = None

    @property
    def is_healthy(self) -> bool:
        """Return whether the task runs and has not failed in the last `STEADY_SECONDS`."""
        return self._failed_at is None or monotonic() - self._failed_at > STEADY_SECONDS

    async def run(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `work`, and restart it whenever it returns or raises; end only when cancelled."""
        pause, longest = RESTART_SECONDS
        while True:
            started_at = monotonic()
            try:
                await work()
                log.error("task %s has ended unexpectedly; it is restarted", name)
            except (Exception, asyncio.CancelledError):
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise  # this task was cancelled, not one that it waited for
                log.exception("task %s has failed; it is restarted", name)
            metrics.task_restarts.labels(name).inc()
            self._failed_at = monotonic()
            if self._failed_at - started_at > STEADY_SECONDS:
                pause = RESTART_SECONDS[0]
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)


@asynccontextmanager
async def supervised(
    name: str, work: Callable[[], Coroutine[Any, Any, None]]
) -> AsyncIterator[Supervision]:
    """Run `work()` as a task until the context is left, and restart it when it ends."""
    supervision = Supervision()
    task = asyncio.create_task(supervision.run(name, work), name=name)
    try:
        yield supervision
    finally:
        task.cancel()
        await asyncio.wait([task])
