"""Run thousands of clients in one process for a bench: `python -m bench.load PORT N`.

The clients make WebSocket frames by hand, so that one core of clients can load one core of
server. They log in by SCRAM and check no signature, since the baseline has none. Each sends a
ping every 20 s, as the real client does, spread evenly over that time.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import hmac
import itertools
import os
import secrets
import sys
import time
from base64 import b64encode
from collections import Counter
from typing import cast

import uvloop

from bench import machine, people
from bench.program import obey
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

PING_S = 20
LOGIN_S = 60
AT_ONCE = 200
"""Logins that are under way at the same time."""
ADDRESSES = 32
"""Loopback addresses that the clients come from: one has some 28,000 ports."""
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
_UPGRADE = (
    f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
).encode()


class Client(asyncio.Protocol):
    """One connection: the upgrade, the login, and then what the server sends."""

    __slots__ = ("auth", "buffer", "fleet", "number", "pinged_ns", "ready", "transport", "upgraded")

    def __init__(self, number: int, fleet: Fleet, ready: asyncio.Future[None]) -> None:
        self.number = number
        self.fleet = fleet
        self.ready: asyncio.Future[None] | None = ready
        """Done after the login; None from then on."""
        self.buffer = b""
        self.auth = ""
        self.upgraded = False
        self.pinged_ns = 0
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(_UPGRADE)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.ready and not self.ready.done():
            self.ready.set_exception(ConnectionError(f"not logged in: {exc}"))
        self.fleet.on_lost(self, str(exc or "closed by the server"))

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        self.buffer = self.buffer + data if self.buffer else data
        while self.buffer and (self._frame(now) if self.upgraded else self._head()):
            pass

    def send(self, payload: bytes, opcode: int = _TEXT) -> None:
        """Send one frame, masked with zeros, which costs the server as much as any mask."""
        size = len(payload)
        if size < 126:
            head = bytes((0x80 | opcode, 0x80 | size))
        else:
            head = bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big")
        self.transport.write(head + b"\0\0\0\0" + payload)

    def ping(self) -> None:
        self.pinged_ns = time.monotonic_ns()
        self.send(b"", _PING)

    def _head(self) -> bool:
        """Take the answer to the upgrade; return whether it was complete."""
        head, found, self.buffer = self.buffer.partition(b"\r\n\r\n")
        if not found:
            self.buffer = head
            return False
        if not head.startswith(b"HTTP/1.1 101"):
            self._give_up(head.partition(b"\r\n")[0].decode())
            return False
        self.upgraded = True
        self.auth = f"n={people.username(self.number)},r={secrets.token_urlsafe(18)}"
        self.send(encode(Hello(scram=f"n,,{self.auth}", device=people.device(self.number))))
        return True

    def _frame(self, now: int) -> bool:
        """Take the next frame; return whether it was complete."""
        data = self.buffer
        start = 4 if len(data) > 1 and data[1] == 126 else 2
        if len(data) < start:
            return False
        end = start + (data[1] if start == 2 else int.from_bytes(data[2:4], "big"))
        if len(data) < end:
            return False
        self.buffer = data[end:]
        opcode = data[0] & 0x0F
        if opcode == _TEXT and self.ready is None:
            self.fleet.receipts.append((self.number, now))
        elif opcode == _TEXT:
            self._log_in(data[start:end])
        elif opcode == _PING:
            self.send(data[start:end], _PONG)
        elif opcode == _PONG:
            self.fleet.pongs_ms.append((now - self.pinged_ns) / 1e6)
        elif opcode == _CLOSE:
            self._give_up(f"closed: {data[start + 2 : end].decode()}")
        return True

    def _log_in(self, payload: bytes) -> None:
        message = decode_from_server(payload)
        if isinstance(message, Challenge):
            final = f"c=biws,{message.scram.partition(',')[0]}"
            keys, auth = people.keys(), f"{self.auth},{message.scram},{final}"
            stored_key = hashlib.sha256(keys.client).digest()
            signature = hmac.digest(stored_key, auth.encode(), "sha256")
            proof = bytes(a ^ b for a, b in zip(keys.client, signature, strict=True))
            self.send(encode(Proof(scram=f"{final},p={b64encode(proof).decode()}")))
        elif isinstance(message, Welcome) and self.ready:
            self.ready.set_result(None)
            self.ready, self.auth = None, ""
        else:
            self._give_up(payload.decode())

    def _give_up(self, why: str) -> None:
        if self.ready and not self.ready.done():
            self.ready.set_exception(ConnectionError(why))
        self.fleet.endings[why] += 1
        self.transport.abort()


class Fleet:
    """The clients; the public coroutines are the commands."""

    def __init__(self, port: int, count: int) -> None:
        self._port = port
        self._numbers = range(1, count + 1)
        self._clients: dict[int, Client] = {}
        self.receipts: list[tuple[int, int]] = []
        """Client and moment (monotonic ns) of each message that followed a login."""
        self.pongs_ms: list[float] = []
        self.endings: Counter[str] = Counter()

    def on_lost(self, client: Client, why: str) -> None:
        if self._clients.get(client.number) is client:
            del self._clients[client.number]
            self.endings[why] += 1

    async def log_in(self) -> None:
        """Log in all clients that are not."""
        absent = (number for number in self._numbers if number not in self._clients)

        async def work() -> None:
            for number in absent:
                await self._log_in(number)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(AT_ONCE, len(self._numbers))):
                group.create_task(work())

    async def drop(self) -> None:
        """Cut all connections, as a broken network does."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            client.transport.abort()

    async def state(self) -> tuple[int, dict[str, int]]:
        """Return how many clients are logged in, and why others are not."""
        return sum(each.ready is None for each in self._clients.values()), dict(self.endings)

    async def take(self, count: int, seconds: float) -> list[tuple[int, int]]:
        """Return the messages since the last call, once there are `count` or time is over."""
        end = time.monotonic() + seconds
        while len(self.receipts) < count and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        receipts, self.receipts = self.receipts, []
        return receipts

    async def longest_pong(self) -> float:
        """Return the longest time from ping to pong since the last call, in ms."""
        pongs, self.pongs_ms = self.pongs_ms, []
        return max(pongs, default=0.0)

    async def ping_every(self, seconds: float) -> None:
        """Ping this often from now on, each time by the next client."""
        self._pinging = asyncio.create_task(self._ping(seconds))

    async def _ping(self, pause: float) -> None:
        for number in itertools.cycle(self._numbers):
            await asyncio.sleep(pause)
            client = self._clients.get(number)
            if client and client.ready is None:
                client.ping()

    async def _log_in(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        self._clients[number] = client = Client(number, self, ready)
        address = f"127.{os.getpid() % 200 + 1}.{number % ADDRESSES}.1"
        async with asyncio.timeout(LOGIN_S):
            await loop.create_connection(
                lambda: client, "127.0.0.1", self._port, local_addr=(address, 0)
            )
            await ready


async def _main(port: int, count: int) -> None:
    fleet = Fleet(port, count)
    await fleet.ping_every(PING_S / count)
    commands = ("log_in", "drop", "state", "take", "longest_pong", "ping_every")
    await obey(**{name: getattr(fleet, name) for name in commands})


if __name__ == "__main__":
    machine.raise_file_limit()
    people.keys()
    gc.disable()  # a collection of so many objects would look like a slow server
    uvloop.run(_main(*map(int, sys.argv[1:])))
