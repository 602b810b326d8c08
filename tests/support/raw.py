"""Send bytes to a gateway and receive them, below WebSockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from protocol import messages
from tests.support.gateway_client import DEADLINE_S, Client, new_key

UPGRADE = (
    f"GET {messages.PATH} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Protocol: {messages.SUBPROTOCOL}\r\n\r\n"
)
HELLO = messages.encode(
    messages.Hello(scram="n,,n=unknown,r=nonce", device=Client(0, key=new_key()).device)
)


@asynccontextmanager
async def raw(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect until the end of the context."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(DEADLINE_S):
            yield reader, writer
    finally:
        writer.close()
