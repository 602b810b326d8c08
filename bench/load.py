"""Run thousands of clients in one process for a bench.

The clients log in by SCRAM and check no signature, because the baseline has none. Each client sends
a ping every 20 s, as the real client does; the pings are spread evenly over that time.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import secrets
import time
from collections import Counter
from contextlib import suppress

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from bench import people
from protocol.messages import (
    PATH,
    SUBPROTOCOL,
    Challenge,
    Hello,
    Proof,
    Welcome,
    decode_from_server,
    encode,
)
from protocol.scram import ClientLogin

PING_S = 20
LOGIN_S = 60
AT_ONCE = 200
"""Most logins that are under way at the same time."""
ADDRESSES = 32
"""Number of the clients' loopback addresses: each has about 28,000 ports."""


class Fleet:
    """All clients, in a process of their own; `bench.program` calls the coroutines."""

    def __init__(self, port: int, count: int) -> None:
        gc.disable()  # a collection of so many objects would look like a slow server
        people.keys()
        self._port = port
        self._numbers = range(1, count + 1)
        self._waiting: dict[int, ClientConnection] = {}
        self._readers: set[asyncio.Task[None]] = set()
        self._receipts: list[tuple[int, int]] = []
        """Client's number and time (monotonic ns) of each message after a login."""
        self._endings: Counter[str] = Counter()
        self._pinging: asyncio.Task[None] | None = None

    async def log_in(self) -> None:
        """Log in all clients that are not logged in, and start the pings."""
        self._pinging = self._pinging or asyncio.create_task(self._ping())
        absent = (number for number in self._numbers if number not in self._waiting)

        async def work() -> None:
            for number in absent:
                async with asyncio.timeout(LOGIN_S):
                    await self._log_in(number)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(AT_ONCE, len(self._numbers))):
                group.create_task(work())

    async def drop(self) -> None:
        """Cut all connections, as a broken network does."""
        waiting, self._waiting = self._waiting, {}
        for connection in waiting.values():
            connection.transport.abort()
        await asyncio.gather(*self._readers)

    async def state(self) -> tuple[int, dict[str, int]]:
        """Return the number of clients that are logged in, and counts of why others ended."""
        return len(self._waiting), dict(self._endings)

    async def take(self, count: int, seconds: float) -> list[tuple[int, int]]:
        """Wait for `count` messages or some seconds; return the messages since the last call."""
        end = time.monotonic() + seconds
        while len(self._receipts) < count and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        receipts, self._receipts = self._receipts, []
        return receipts

    async def _ping(self) -> None:
        """Send pings for ever, one client after the other, so that each sends one every 20 s."""
        for number in itertools.cycle(self._numbers):
            await asyncio.sleep(PING_S / len(self._numbers))
            if connection := self._waiting.get(number):
                with suppress(ConnectionClosed):
                    await connection.ping()

    async def _log_in(self, number: int) -> None:
        address = f"127.{os.getpid() % 200 + 1}.{number % ADDRESSES}.1"
        connection = await connect(
            f"ws://127.0.0.1:{self._port}{PATH}",
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            proxy=None,
            ping_interval=None,
            local_addr=(address, 0),
        )
        login = ClientLogin(
            user=people.username(number),
            password=people.PASSWORD,
            nonce=secrets.token_urlsafe(18),
            known=people.keys(),
        )
        hello = Hello(scram=login.first(), device=people.device(number))
        await connection.send(encode(hello), text=True)
        answer = decode_from_server(await connection.recv(decode=False))
        if isinstance(answer, Challenge):
            await connection.send(encode(Proof(scram=login.proof(answer.scram))), text=True)
            answer = decode_from_server(await connection.recv(decode=False))
        if not isinstance(answer, Welcome):
            raise TypeError(f"not logged in: {answer}")
        self._waiting[number] = connection
        reader = asyncio.create_task(self._read(number, connection))
        self._readers.add(reader)
        reader.add_done_callback(self._readers.discard)

    async def _read(self, number: int, connection: ClientConnection) -> None:
        try:
            while True:
                await connection.recv(decode=False)
                self._receipts.append((number, time.monotonic_ns()))
        except ConnectionClosed as exc:
            if self._waiting.get(number) is connection:
                del self._waiting[number]
                self._endings[str(exc)] += 1
