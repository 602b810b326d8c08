"""Run the baseline: a bare `websockets` server that sends the same frames and does nothing else.

The server checks no login, stores nothing, does not compress, and sends no pings.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from protocol.messages import SUBPROTOCOL, Challenge, PasswordChanged, Welcome, encode

_NOW = datetime.now(UTC)
_WELCOME = encode(Welcome(scram=f"v={'s' * 43}=", password="current", server_time=_NOW))
_PUSH = encode(
    PasswordChanged(
        change_id="0" * 32, sealed="x" * 224, valid_until=_NOW, signature=f"{'s' * 43}="
    )
)


class Bare:
    """The bare server; `bench.program` calls its coroutines."""

    def __init__(self) -> None:
        self._waiting: dict[int, ServerConnection] = {}
        """Connections by the number in the client's user name."""

    async def start(self) -> tuple[int, int]:
        """Listen. Return the port and the process id."""
        self._server = await serve(
            self._talk,
            "127.0.0.1",
            0,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            ping_interval=None,
        )
        return next(iter(self._server.sockets)).getsockname()[1], os.getpid()

    async def push(self, number: int) -> int:
        """Send a message as large as a push to client `number`. Return the time (monotonic ns)."""
        now = time.monotonic_ns()
        await self._waiting[number].send(_PUSH, text=True)
        return now

    async def _talk(self, connection: ServerConnection) -> None:
        number = -1
        try:
            hello = str(await connection.recv())
            nonce = hello.partition(",r=")[2].partition('"')[0] + "n" * 32
            challenge = Challenge(scram=f"r={nonce},s=YSBzYWx0IGZvciBiZW5jaA==,i=600000")
            await connection.send(encode(challenge), text=True)
            await connection.recv()
            await connection.send(_WELCOME, text=True)
            number = int(hello.partition("n=user")[2][:6])
            self._waiting[number] = connection
            async for _ in connection:
                pass
        except ConnectionClosed:
            pass
        finally:
            if self._waiting.get(number) is connection:
                del self._waiting[number]
