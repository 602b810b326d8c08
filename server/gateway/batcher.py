"""Collect requests while a batch runs, and submit them as the next batch.

After a restart, ten thousand clients log in at once. One transaction for each client would take
minutes; a transaction for a hundred clients takes little longer than for a single client.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

MAX_ITEMS = 200
"""Most items of one batch, so that other work on the same thread or rows does not wait long."""
MAX_QUEUED = 20_000
"""Most items that wait for a batch. More logins could not be answered within 20 s anyway."""
PAUSE_FACTOR = 3
"""The pause after a batch, as a multiple of the time that the batch took. Without a pause, a batch
would have three items, but passing it to its thread and back costs more than ten items do. Under
light load, batches and pauses take a few milliseconds."""
MAX_PAUSE_SECONDS = 0.03


class Unavailable(Exception):
    """Raised when the database is unreachable or overloaded: retry later."""


class Batcher(Generic[_Item, _Result]):
    """Run `work` on a thread for many items; `work` returns a result or an exception for each."""

    def __init__(
        self, executor: Executor, work: Callable[[Sequence[_Item]], Sequence[_Result | Exception]]
    ) -> None:
        self._executor = executor
        self._work = work
        self._queue: deque[tuple[_Item, asyncio.Future[_Result]]] = deque()
        self._task: asyncio.Task[None] | None = None

    def submit(self, item: _Item) -> asyncio.Future[_Result]:
        """Queue an item, and return a future of its result. Items are worked on in their order.

        The future raises the exception that `work` returns for the item, or that `work` raises.
        Raise Unavailable when `MAX_QUEUED` items wait.
        """
        if len(self._queue) >= MAX_QUEUED:
            raise Unavailable
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Result] = loop.create_future()
        self._queue.append((item, future))
        if self._task is None:
            self._task = loop.create_task(self._run_batches())
        return future

    async def close(self) -> None:
        """Wait until no batch and no pause is left."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _run_batches(self) -> None:
        """Run batches until no item is left after a pause."""
        loop = asyncio.get_running_loop()
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), MAX_ITEMS))]
            began_at = loop.time()
            results: Sequence[_Result | Exception]
            try:
                items = [item for item, _ in batch]
                results = await loop.run_in_executor(self._executor, self._work, items)
            except Exception as exc:  # noqa: BLE001 - it is raised to each item's caller
                results = [exc] * len(batch)
            for (_, future), result in zip(batch, results, strict=True):
                if future.done():
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)
            took = loop.time() - began_at
            await asyncio.sleep(min(MAX_PAUSE_SECONDS, PAUSE_FACTOR * took))
        self._task = None
