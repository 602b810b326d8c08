"""Threads for what blocks, there only while there is something to do."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock, Thread, current_thread
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Worker(ThreadPoolExecutor):
    """Begins jobs in the order of `submit`, so many at a time: with one, one after the other.

    A pool's threads stay for ever; here they end with the last job, and the next job has another.
    It is a ThreadPoolExecutor because asyncio takes nothing else for its default.
    """

    def __init__(self, name: str, at_a_time: int = 1) -> None:
        super().__init__(at_a_time)
        self._name = name
        self._at_a_time = at_a_time
        self._lock = Lock()
        self._jobs: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._threads: set[Thread] = set()
        self._over = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Raise RuntimeError after `shutdown`."""
        future: Future[T] = Future()
        with self._lock:
            if self._over:
                raise RuntimeError("after the end")
            self._jobs.append((future, lambda: fn(*args, **kwargs)))
            if len(self._threads) < self._at_a_time:
                # Not a daemon: a write that has begun is finished before the program ends.
                thread = Thread(target=self._work, name=self._name, daemon=False)
                thread.start()
                self._threads.add(thread)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - as Executor has it
        """Take no more. With `wait`, return when all is done."""
        with self._lock:
            self._over = True
            threads = list(self._threads)
            waiting = [future for future, _ in self._jobs]
        if cancel_futures:
            for future in waiting:
                future.cancel()
        if wait:
            for thread in threads:
                thread.join()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._jobs:
                    self._threads.remove(current_thread())
                    return
                future, job = self._jobs.popleft()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(job())
                except BaseException as exc:  # noqa: BLE001 - it is for whoever waits
                    future.set_exception(exc)
            del future, job  # what they hold may be a password
