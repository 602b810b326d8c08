"""An asyncio loop on a thread of its own, for adapters that wait for the desktop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from threading import Lock, Thread
from typing import Any


class LoopThread:
    """Starts with the first `submit`; after `stop` nothing runs any more."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None
        self._stopped = False
        self._futures: set[Future[Any]] = set()

    def submit(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Run `work` there; a failed future when it is too late. Keeps it from being collected."""
        with self._lock:
            if self._stopped:
                work.close()
                late: Future[Any] = Future()
                late.cancel()
                return late
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = Thread(
                    target=self._run, args=(self._loop,), name=self._name, daemon=True
                )
                self._thread.start()
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
            self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        return future

    def stop(self, last: Coroutine[Any, Any, Any] | None = None, *, timeout_s: float) -> None:
        """Cancel what runs, after `last` has been run if there ever was a loop; then end."""
        if last is not None:
            if self._loop is None:
                last.close()
            else:
                with suppress(Exception):
                    self.submit(last).result(timeout_s)
        with self._lock:
            self._stopped = True
            loop, thread = self._loop, self._thread
        if loop is not None and thread is not None and thread.is_alive():
            with suppress(RuntimeError):  # it has ended in between
                loop.call_soon_threadsafe(loop.stop)
            thread.join(timeout_s)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.run_forever()
            if tasks := asyncio.all_tasks(loop):
                for task in tasks:
                    task.cancel()
                loop.run_until_complete(asyncio.wait(tasks))
        finally:
            loop.close()
