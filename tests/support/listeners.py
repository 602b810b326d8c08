"""Anything that listens on a port of this PC, and what `classify` makes of it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from agent import connection
from agent.core.classify import classify
from agent.core.failure import Failure, Reason

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
SECRET = "Telltale"


@asynccontextmanager
async def server(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Anything that listens on a port of this PC; the port."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(once, "127.0.0.1", 0, ssl=tls)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        await listening.wait_closed()


def says(answer: bytes, *, after: bytes = b"\r\n\r\n") -> Talk:
    """Wait for a request, give `answer`, close."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if after:
            await reader.readuntil(after)
        writer.write(answer)
        await writer.drain()

    return talk


def http(status: str, *headers: str, body: str = "") -> Talk:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", body]
    return says("\r\n".join(lines).encode())


async def failure(address: str, *, proxy: str | None = None) -> Failure:
    """What `classify` makes of the real exception."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is what is asked
        await connection.open_connection(address, proxy=proxy)
    result = classify(caught.value, proxy=proxy is not None)
    assert result.reason is not Reason.INTERNAL, repr(caught.value)
    assert SECRET not in result.detail
    return result


async def unused_port() -> int:
    async with server(says(b"")) as port:
        return port


async def answered(talk: Talk) -> Failure:
    async with server(talk) as port:
        return await failure(f"ws://127.0.0.1:{port}/gateway")
