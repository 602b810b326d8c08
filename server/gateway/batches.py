"""Does together what was asked for while the work before it was under way.

Ten thousand clients come back at once after a restart: one transaction each would take minutes of
everybody's time, one for a hundred of them takes little more than one for a single client.
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
"""At once, so that nothing else waits long for the same thread or the same rows."""
PAUSE_FACTOR = 3
"""A batch waits for so many times as long as the one before it took. Begun at once, a storm's
batches would be of three, and the hand-over of a batch to its thread and back costs more than the
work on ten. When there is little to do, batches and pauses take a few milliseconds."""
MAX_PAUSE_SECONDS = 0.03


class Batches(Generic[_Item, _Result]):
    """`work` gets many items on a thread and answers for each: a result, or what to raise."""

    def __init__(
        self,
        executor: Executor,
        work: Callable[[Sequence[_Item]], Sequence[_Result | Exception]],
        *,
        limit: int = MAX_ITEMS,
    ) -> None:
        self._executor = executor
        self._work = work
        self._limit = limit
        self._waiting: deque[tuple[_Item, asyncio.Future[_Result]]] = deque()
        self._is_working = False
        self._began_at = self._next_at = 0.0

    def do(self, item: _Item) -> asyncio.Future[_Result]:
        """Becomes the result for this item, as if it had been alone, or raises what `work` answers
        or raises. Items are worked on in their order.
        """
        future: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if not self._is_working:
            self._start_in_time()
        return future

    def _start_in_time(self) -> None:
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
        count = min(len(self._waiting), self._limit)
        batch = [self._waiting.popleft() for _ in range(count)]
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
        if self._waiting:
            self._start_in_time()
