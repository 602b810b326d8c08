"""Collect requests while a batch runs, and submit them as the next batch.

Ten thousand clients come back at once after a restart. One transaction for each would take minutes;
one for a hundred clients takes little more than one for a single client.
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
"""Items of one batch, so that other work on the same thread or the same rows does not wait long."""
MAX_QUEUED = 20_000
"""Items that wait for a batch: more logins than that are not answered in 20 s anyway."""
PAUSE_FACTOR = 3
"""A batch waits for so many times as long as the one before it took. Without a pause, batches would
be of three items, and handing a batch to its thread and back costs more than the work on ten. When
there is little to do, batches and pauses take a few milliseconds."""
MAX_PAUSE_SECONDS = 0.03


class Unavailable(Exception):
    """The database is away or overloaded. Nothing was done."""


class Batcher(Generic[_Item, _Result]):
    """Run `work` on a thread with many items; it returns a result or an exception for each."""

    def __init__(
        self, executor: Executor, work: Callable[[Sequence[_Item]], Sequence[_Result | Exception]]
    ) -> None:
        self._executor = executor
        self._work = work
        self._queue: deque[tuple[_Item, asyncio.Future[_Result]]] = deque()
        self._task: asyncio.Task[None] | None = None

    def submit(self, item: _Item) -> asyncio.Future[_Result]:
        """Return a future of this item's result. Items are worked on in their order.

        It raises what `work` returns for the item, or what `work` raises. Raise Unavailable when
        too many items wait.
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
