"""A loop on a thread of its own, on which tests keep the servers that a client process meets."""

from __future__ import annotations

import asyncio
import ssl
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, TypeVar

T = TypeVar("T")
Talk = Callable[[StreamReader, StreamWriter], Awaitable[None]]
CALL_S = 30.0


class Stage:
    """`host` and `serve` until the stage is left."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stage")
        self._hosted = AsyncExitStack()

    def __enter__(self) -> Stage:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run this on the stage's loop; what it returns."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=CALL_S)

    def host(self, server: AbstractAsyncContextManager[T]) -> T:
        """Enter it there, and leave it at the end."""

        async def enter() -> T:
            return await self._hosted.enter_async_context(server)

        return self.call(enter())

    def serve(self, talk: Talk, tls: ssl.SSLContext | None = None) -> int:
        """Anything that listens on a port of this PC; the port."""

        async def quietly(reader: StreamReader, writer: StreamWriter) -> None:
            try:
                await talk(reader, writer)
            except (OSError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        async def listen() -> int:
            server = await asyncio.start_server(quietly, "127.0.0.1", 0, ssl=tls)
            self._hosted.callback(server.close)
            port: int = server.sockets[0].getsockname()[1]
            return port

        return self.call(listen())

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._hosted.aclose()
        for _ in range(3):  # closed transports let go of their sockets in the turn after
            await asyncio.sleep(0)
