"""The baseline: a bare `websockets` server that sends the same frames and does nothing else.

`python -m bench.bare [CERTIFICATE]`. No login is checked, nothing is stored; no
compression, and no pings of its own.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
import time
from datetime import UTC, datetime

from websockets.asyncio.server import Server, ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from bench.heart import Heart, obey
from protocol.messages import SUBPROTOCOL, Bye, Challenge, PasswordChanged, Welcome, encode

_NOW = datetime.now(UTC)
_CHALLENGE = encode(Challenge(scram=f"r={'n' * 56},s=YSBzYWx0IGZvciBiZW5jaA==,i=600000"))
_WELCOME = encode(Welcome(scram=f"v={'s' * 43}=", password="current", server_time=_NOW))
PUSH = encode(
    PasswordChanged(
        change_id="0" * 32, sealed="x" * 224, valid_until=_NOW, signature=f"{'s' * 43}="
    )
)
"""As large as a real one."""
_BYE = encode(Bye(reason="shutting_down", retry_after_s=10))
_waiting: dict[int, ServerConnection] = {}
"""By the number in the client's user name."""


async def _talk(connection: ServerConnection) -> None:
    number = -1
    try:
        hello = str(await connection.recv())
        await connection.send(_CHALLENGE, text=True)
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


def _push(loop: asyncio.AbstractEventLoop, number: int) -> int:
    """To this client; when it was told to."""
    now = time.monotonic_ns()
    asyncio.run_coroutine_threadsafe(_waiting[number].send(PUSH, text=True), loop)
    return now


async def _to_all() -> None:
    broadcast(_waiting.values(), _BYE.decode())


def _broadcast(loop: asyncio.AbstractEventLoop) -> int:
    """To all clients; when it was told to."""
    now = time.monotonic_ns()
    asyncio.run_coroutine_threadsafe(_to_all(), loop)
    return now


async def _listen(tls: ssl.SSLContext | None) -> Server:
    return await serve(
        _talk,
        "127.0.0.1",
        0,
        ssl=tls,
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        compression=None,
        ping_interval=None,
    )


async def _main() -> None:
    tls = None
    if len(sys.argv) > 1:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(sys.argv[1])
    async with await _listen(tls) as server:
        loop = asyncio.get_running_loop()
        heart = Heart(loop)
        obey(
            {
                "watch": heart.watch,
                "report": heart.report,
                "push": lambda number: _push(loop, number),
                "broadcast": lambda: _broadcast(loop),
            }
        )
        port = next(iter(server.sockets)).getsockname()[1]
        print(f"gateway  ws://127.0.0.1:{port}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())
