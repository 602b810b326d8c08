"""An event loop on a separate thread, for servers that client processes connect to."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, TypeVar

from tests.support.listeners import Talk, listening

T = TypeVar("T")
CALL_S = 30.0


class LoopThread:
    """An event loop that hosts servers until the end of the context."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="test-servers")
        self._hosted = AsyncExitStack()

    def __enter__(self) -> LoopThread:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` on the loop. Return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=CALL_S)

    def host(self, server: AbstractAsyncContextManager[T]) -> T:
        """Enter the server's context on the loop. Return its value; the end leaves the context."""
        return self.call(self._hosted.enter_async_context(server))

    def serve(self, talk: Talk, *, tls: ssl.SSLContext | None = None) -> int:
        """Listen with the behaviour `talk`. Return the port."""
        return self.host(listening(talk, tls=tls))

    async def _end(self) -> None:
        await self._hosted.aclose()
        for _ in range(3):  # closed transports release their sockets one turn later
            await asyncio.sleep(0)
