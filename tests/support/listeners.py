"""Listeners with any behaviour, and the failure that `classify` makes of each."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from agent import connection
from agent.core.classify import classify
from agent.core.failure import Failure, Reason

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
SECRET = "Telltale"


@asynccontextmanager
async def listening(
    talk: Talk, *, tls: ssl.SSLContext | None = None, port: int = 0
) -> AsyncIterator[int]:
    """Listen on a port of this PC, a free one unless named, and run `talk` for each connection.

    At the end of the context all connections are cut.
    """
    running: set[asyncio.Task[None]] = set()

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError):
            await talk(reader, writer)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Not a coroutine: a task cancelled before its start would not close the socket.
        task = asyncio.create_task(once(reader, writer))
        running.add(task)
        task.add_done_callback(running.discard)
        task.add_done_callback(lambda _: writer.close())

    server = await asyncio.start_server(accept, "127.0.0.1", port, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        # asyncio leaks the socket of a connection that it accepts while the server closes.
        asyncio.get_running_loop().remove_reader(server.sockets[0].fileno())
        for _ in range(3):
            await asyncio.sleep(0)
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await server.wait_closed()


def says(answer: bytes, *, after: bytes = b"\r\n\r\n") -> Talk:
    """Return a behaviour: wait for a request, send `answer`, close."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if after:
            await reader.readuntil(after)
        writer.write(answer)
        await writer.drain()

    return talk


def http(status: str, *headers: str, body: str = "") -> Talk:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", body]
    return says("\r\n".join(lines).encode())


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Read everything and answer nothing."""
    while await reader.read(65_536):
        pass


async def failure(address: str, *, proxy: str | None = None) -> Failure:
    """Return what `classify` makes of the real exception."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is what is asked
        await connection.open_connection(address, proxy=proxy)
    result = classify(caught.value, proxy=proxy)
    assert result.reason is not Reason.INTERNAL, repr(caught.value)
    assert SECRET not in result.detail
    return result


async def answered(talk: Talk) -> Failure:
    async with listening(talk) as port:
        return await failure(f"ws://127.0.0.1:{port}/gateway")
