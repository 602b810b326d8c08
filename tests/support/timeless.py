"""An event loop in simulated time, which can be run until it is idle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar

_T = TypeVar("_T")
QUIET_ROUNDS = 3
TICK_S = 1e-6
MOMENT_S = 0.1
"""The server's pauses between batches are shorter, and part of the moment."""


class TimelessLoop(asyncio.SelectorEventLoop):
    """A loop whose clock moves only when a test moves it.

    It waits for jobs on other threads at once, so that the order of everything is always the same.
    """

    def __init__(self) -> None:
        super().__init__()
        self.elapsed_s = 0.0

    def time(self) -> float:
        self.elapsed_s += TICK_S  # nothing takes no time at all
        return self.elapsed_s

    def run_in_executor(  # type: ignore[override]  # the same, for the one form that is used
        self, executor: Executor | None, func: Callable[..., _T], *args: Any
    ) -> asyncio.Future[_T]:
        future: asyncio.Future[_T] = self.create_future()
        if executor is None:
            return super().run_in_executor(None, func, *args)
        try:
            future.set_result(executor.submit(func, *args).result())
        except Exception as exc:  # noqa: BLE001 - the awaiting coroutine raises it
            future.set_exception(exc)
        return future

    def settle(self) -> None:
        """Run until nothing is left to do now, on any socket either."""
        self.run_until_complete(self._idle())

    async def _idle(self) -> None:
        quiet = 0
        while quiet < QUIET_ROUNDS:
            await asyncio.sleep(0)
            ready = self._ready  # type: ignore[attr-defined]  # asyncio has no way to ask
            waiting = self._selector.select(0)  # type: ignore[attr-defined]  # the same
            timers = self._scheduled  # type: ignore[attr-defined]  # the same
            if timers and self.elapsed_s < timers[0].when() <= self.elapsed_s + MOMENT_S:
                self.elapsed_s = timers[0].when()
                quiet = 0
            else:
                quiet = 0 if ready or waiting else quiet + 1
