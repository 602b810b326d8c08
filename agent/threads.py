"""A daemon thread for each blocking call, for asyncio's executor.

The threads of `concurrent.futures.ThreadPoolExecutor` stay for ever, and the interpreter joins
them before it ends: one call that hangs would keep the client from quitting. Here a thread ends
with its call, and the end of the program does not wait for it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore, Thread
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

MAX_CALLS = 16  # at a time. About three are usual; when there are more, calls hang


class DaemonThreads(ThreadPoolExecutor):
    """Start each call at once, on a thread of its own. asyncio demands a ThreadPoolExecutor."""

    def __init__(self) -> None:
        super().__init__(1)
        self._free = BoundedSemaphore(MAX_CALLS)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call `fn` on a new thread. Raise OSError if MAX_CALLS calls run, or no thread is left."""
        if not self._free.acquire(blocking=False):
            raise OSError(errno.EAGAIN, "too many calls hang")
        future: Future[T] = Future()

        def run() -> None:
            try:
                if future.set_running_or_notify_cancel():
                    future.set_result(fn(*args, **kwargs))
            except BaseException as exc:  # noqa: BLE001 - the caller gets it from the future
                future.set_exception(exc)
            finally:
                self._free.release()

        name = getattr(fn, "__name__", "call")
        try:
            Thread(target=run, name=f"coconowork-{name}", daemon=True).start()
        except RuntimeError as exc:
            self._free.release()
            raise OSError(errno.EAGAIN, str(exc)) from None
        return future
