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


class QueueFull(Exception):
    """Raised when too many items wait."""


class Batcher(Generic[_Item, _Result]):
    """Run `work` on a thread, with many items at once.

    `work` returns for each item either its result or an exception to raise.
    """

    def __init__(
        self,
        executor: Executor,
        work: Callable[[Sequence[_Item]], Sequence[_Result | Exception]],
        *,
        max_items: int = MAX_ITEMS,
        max_queued: int = MAX_QUEUED,
    ) -> None:
        self._executor = executor
        self._work = work
        self._max_items = max_items
        self._max_queued = max_queued
        self._queue: deque[tuple[_Item, asyncio.Future[_Result]]] = deque()
        self._is_working = False
        self._began_at = self._next_at = 0.0

    def submit(self, item: _Item) -> asyncio.Future[_Result]:
        """Return a future of this item's result. Items are worked on in their order.

        It raises what `work` returns for the item, or what `work` raises. Raise QueueFull.
        """
        if len(self._queue) >= self._max_queued:
            raise QueueFull
        future: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        self._queue.append((item, future))
        if not self._is_working:
            self._start_after_pause()
        return future

    def _start_after_pause(self) -> None:
        self._is_working = True
        loop = asyncio.get_running_loop()
        pause_s = self._next_at - loop.time()
        if pause_s > 0:
            loop.call_later(pause_s, self._start)
        else:
            self._start()

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        self._began_at = loop.time()
        count = min(len(self._queue), self._max_items)
        batch = [self._queue.popleft() for _ in range(count)]
        items = [item for item, _ in batch]
        futures = [future for _, future in batch]
        done = loop.run_in_executor(self._executor, self._work, items)
        done.add_done_callback(lambda done: self._finish(futures, done))

    def _finish(
        self,
        futures: Sequence[asyncio.Future[_Result]],
        done: asyncio.Future[Sequence[_Result | Exception]],
    ) -> None:
        self._is_working = False
        now = asyncio.get_running_loop().time()
        self._next_at = now + min(MAX_PAUSE_SECONDS, PAUSE_FACTOR * (now - self._began_at))
        failed = done.exception()
        results = [failed] * len(futures) if failed is not None else done.result()
        for future, result in zip(futures, results, strict=True):
            if future.done():
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)
        if self._queue:
            self._start_after_pause()
