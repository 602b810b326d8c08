"""Bytes to and from a gateway, below WebSockets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from protocol import messages
from server.commands.serve import tls_context
from server.config import Config
from tests.support.certificates import Authority
from tests.support.gateway_client import DEADLINE_S, Client, new_key

UPGRADE = (
    f"GET {messages.PATH} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Protocol: {messages.SUBPROTOCOL}\r\n\r\n"
)
HELLO = messages.encode(
    messages.Hello(scram="n,,n=nobody,r=nonce", device=Client(0, key=new_key()).device)
)


@asynccontextmanager
async def raw(
    port: int, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    try:
        async with asyncio.timeout(DEADLINE_S):
            yield reader, writer
    finally:
        writer.close()


def certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's context and the client's, as `serve` makes the first."""
    authority = Authority(folder)
    file = authority.issue()
    offered = tls_context(Config(tls_cert=file, tls_key=file))
    assert offered is not None
    return offered, authority.trust()
