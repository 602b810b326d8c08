"""The baseline: a bare `websockets` server that sends the same frames and does nothing else.

`python -m bench.bare`. It checks no login, stores nothing, does not compress, and sends no pings.
`push(number=…)` sends a message of a push's size to that client and returns when (monotonic ns).
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from bench.program import obey
from protocol.messages import SUBPROTOCOL, Challenge, PasswordChanged, Welcome, encode

_NOW = datetime.now(UTC)
_WELCOME = encode(Welcome(scram=f"v={'s' * 43}=", password="current", server_time=_NOW))
_PUSH = encode(
    PasswordChanged(
        change_id="0" * 32, sealed="x" * 224, valid_until=_NOW, signature=f"{'s' * 43}="
    )
)
_waiting: dict[int, ServerConnection] = {}
"""By the number in the client's user name."""


async def _talk(connection: ServerConnection) -> None:
    number = -1
    try:
        hello = str(await connection.recv())
        nonce = hello.partition(",r=")[2].partition('"')[0] + "n" * 32
        challenge = Challenge(scram=f"r={nonce},s=YSBzYWx0IGZvciBiZW5jaA==,i=600000")
        await connection.send(encode(challenge), text=True)
        await connection.recv()
        await connection.send(_WELCOME, text=True)
        number = int(hello.partition("n=user")[2][:6])
        _waiting[number] = connection
        async for _ in connection:
            pass
    except ConnectionClosed:
        pass
    finally:
        if _waiting.get(number) is connection:
            del _waiting[number]


async def _push(number: int) -> int:
    now = time.monotonic_ns()
    await _waiting[number].send(_PUSH, text=True)
    return now


async def _main() -> None:
    async with serve(
        _talk,
        "127.0.0.1",
        0,
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        compression=None,
        ping_interval=None,
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(f"gateway  ws://127.0.0.1:{port}", flush=True)
        await obey(push=_push)


if __name__ == "__main__":
    asyncio.run(_main())
