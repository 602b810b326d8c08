"""A gateway that does what a test's script says: honest, hostile, or no gateway at all.

It speaks RFC 6455 by the library's state machine and anything else by raw bytes, and shares no
code with the real gateway.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import socket
import struct
import threading
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from time import time
from typing import Any

from nacl.public import PublicKey, SealedBox
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

USER = "user"
SALT = b"0123456789abcdef"
ITERATIONS = 600_000
PATIENCE_S = 60.0
"""Longer than any silence that a client bears."""

Json = dict[str, Any]


class Gone(Exception):
    """The client has closed the connection."""


@cache
def salted(password: str) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", password.encode(), SALT, ITERATIONS)


def server_final(password: str, hello: Json, challenge: str, proof: str) -> str | None:
    """SCRAM's last message by the formulas of RFC 5802; None for a wrong proof."""
    without_proof, _, given = proof.rpartition(",p=")
    auth = f"{hello['scram'].removeprefix('n,,')},{challenge},{without_proof}".encode()
    client_key = hmac.digest(salted(password), b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(client_key).digest(), auth, "sha256")
    if bytes(a ^ b for a, b in zip(client_key, signature, strict=True)) != b64decode(given):
        return None
    server_key = hmac.digest(salted(password), b"Server Key", "sha256")
    return f"v={b64encode(hmac.digest(server_key, auth, 'sha256')).decode()}"


def sign(password: str, change_id: str, sealed: str) -> str:
    """What a server that knows the verifier of `password` adds to a push."""
    server_key = hmac.digest(salted(password), b"Server Key", "sha256")
    return b64encode(
        hmac.digest(server_key, f"push,{change_id},{sealed}".encode(), "sha256")
    ).decode()


def at(days: float = 0) -> str:
    """A time on the wire, so many days from now."""
    return (datetime.now(UTC) + timedelta(days=days)).isoformat().replace("+00:00", "Z")


def seal(device: Json, plain: bytes) -> str:
    """A sealed box for the device of a `hello`."""
    key = PublicKey(b64decode(device["public_key"]))
    return b64encode(SealedBox(key).encrypt(plain)).decode()


class Peer:
    """One client's connection, as a script sees it. Reading raises Gone at its end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._protocol = ServerProtocol(subprotocols=[Subprotocol("coconowork.v1")])
        self._requests: deque[Request] = deque()
        self._messages: deque[Json] = deque()
        self.closes = True
        """Whether it closes the socket when the client has sent a close frame, as it has to."""

    @property
    def close_code(self) -> int | None:
        """With which the client has closed."""
        return self._protocol.close_rcvd.code if self._protocol.close_rcvd else None

    async def _read(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            data = await self._reader.read(65536)
        if not data:
            raise Gone
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._requests.append(event)
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self._messages.append(json.loads(bytes(event.data)))
        self.write(b"".join(self._protocol.data_to_send()))
        if self._protocol.close_rcvd and self.closes:
            raise Gone

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)

    async def more(self, data: bytes) -> None:
        """Send bytes once those before them are on their way; nothing is read meanwhile."""
        self._writer.write(data)
        try:
            await self._writer.drain()
        except ConnectionError:
            raise Gone from None

    def hang_up(self) -> None:
        """Cut the connection without a word: an RST, whatever is still to be read."""
        linger = struct.pack("ii", 1, 0)
        connection: socket.socket = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._writer.transport.abort()

    async def request(self) -> Request:
        """The client's HTTP request."""
        while not self._requests:
            await self._read()
        return self._requests.popleft()

    async def upgrade(self, *, without: str = "", **extra: str) -> None:
        """Accept the upgrade; `without` one header, with `extra` ones in place of its own."""
        response = self._protocol.accept(await self.request())
        for name in (without, *(each.replace("_", "-") for each in extra)):
            if name in response.headers:
                del response.headers[name]
        response.headers.update({name.replace("_", "-"): value for name, value in extra.items()})
        self._protocol.send_response(response)
        self.write(b"".join(self._protocol.data_to_send()))

    def send(self, message: Json | str) -> None:
        """A text message."""
        text = message if isinstance(message, str) else json.dumps(message)
        self.frame(Opcode.TEXT, text.encode())

    def frame(self, opcode: Opcode, data: bytes, *, fin: bool = True) -> None:
        """One frame, in order or not."""
        self.write(Frame(opcode, data, fin).serialize(mask=False))

    async def receive(self) -> Json:
        """The next message."""
        while not self._messages:
            await self._read()
        return self._messages.popleft()

    async def hello(self) -> Json:
        """Upgrade, and take the first message."""
        await self.upgrade()
        return await self.receive()

    async def challenge(self, hello: Json) -> str:
        """Send a fair challenge."""
        nonce = hello["scram"].partition(",r=")[2]
        text = f"r={nonce}{b64encode(SALT).decode()},s={b64encode(SALT).decode()},i={ITERATIONS}"
        self.send({"type": "challenge", "scram": text})
        return text

    async def log_in(
        self, passwords: dict[str, str], hello: Json | None = None, **more: Any
    ) -> Json:
        """An honest login; the `hello` of it. `passwords` maps each to `current` or `old`."""
        while True:
            hello = hello or await self.hello()
            challenge = await self.challenge(hello)
            proof = (await self.receive())["scram"]
            for password, kind in passwords.items():
                final = server_final(password, hello, challenge, proof)
                if final is not None:
                    until = {"valid_until": at(30)} if kind == "old" else {}
                    welcome = {"type": "welcome", "scram": final, "password": kind, **until}
                    self.send({**welcome, "server_time": at(), **more})
                    return hello
            self.send({"type": "rejected", "reason": "credentials"})
            hello = await self.receive()

    async def closed(self) -> None:
        """Take in whatever comes until the client is gone."""
        while True:
            await self._read()


Script = Callable[[Peer], Awaitable[None]]


@dataclass
class Visit:
    """One connection of the client."""

    began: float
    ended: float | None = None
    close_code: int | None = None


class FalseGateway:
    """Listens on a port of its own and plays `script` to whoever comes."""

    def __init__(self) -> None:
        self.address = ""
        self._script: Script | None = None
        self.visits: list[Visit] = []
        """Since the script was last changed."""
        self.faults: list[BaseException] = []
        """What went wrong in a script."""

    def play(self, script: Script) -> None:
        """Do this from now on."""
        self.visits, self._script = [], script

    def first_has_ended(self) -> bool:
        """Whether a connection to this script is over."""
        return bool(self.visits) and self.visits[0].ended is not None

    async def visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        peer, script, visit = Peer(reader, writer), self._script, Visit(time())
        self.visits.append(visit)
        try:
            if script is not None:
                await script(peer)
                await peer.closed()
        except (Gone, ConnectionError):
            pass
        except Exception as exc:  # noqa: BLE001 - the test has to hear of it
            self.faults.append(exc)
        finally:
            writer.close()
            visit.close_code, visit.ended = peer.close_code, time()


@contextmanager
def false_gateways(count: int) -> Iterator[list[FalseGateway]]:
    """So many of them, on one loop in a thread beside the test."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="false-gateways")
    thread.start()

    def call(work: Awaitable[Any]) -> Any:
        async def run() -> Any:
            return await work

        return asyncio.run_coroutine_threadsafe(run(), loop).result(timeout=30)

    async def listen() -> tuple[FalseGateway, asyncio.Server]:
        gateway = FalseGateway()
        server = await asyncio.start_server(gateway.visit, "127.0.0.1", 0)
        gateway.address = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/gateway"
        return gateway, server

    async def stop() -> None:
        for _, server in running:
            server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    running: list[tuple[FalseGateway, asyncio.Server]] = []
    try:
        running += [call(listen()) for _ in range(count)]
        yield [gateway for gateway, _ in running]
    finally:
        call(stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
