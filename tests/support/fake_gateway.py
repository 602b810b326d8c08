"""A gateway that runs a test's script: honest, hostile, or no gateway at all.

A `FakeGateway` listens on loopback and calls its script with a `Peer` for each connection. The peer
speaks WebSocket with the websockets library's state machine, and anything else as raw bytes. It
shares nothing with the real gateway but `protocol`.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from inspect import isawaitable
from time import time
from typing import Any

from nacl.public import PublicKey, SealedBox
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from protocol.messages import MIN_ITERATIONS, SUBPROTOCOL
from protocol.scram import ClientFirst, ServerLogin, Verifier, derive_keys, verifier_of
from protocol.sealing import push_signature
from tests.support.listeners import listening

USER = "tanaka"
PASSWORD, WRONG = "Passw0rd!", "Wrong-000"
KNOWN: Mapping[str, str] = {PASSWORD: "current"}
"""The passwords that an honest gateway knows, unless a test says otherwise."""
CODE, CHANGE_ID = "BCDF2345", "c" * 32
"""The code of a new PC, and its change id."""
PATIENCE_S = 60.0
"""Longer than any silence that a client tolerates."""

Json = dict[str, Any]


@cache
def verifier(password: str) -> Verifier:
    keys = derive_keys(password, salt=b"0123456789abcdef", iterations=MIN_ITERATIONS)
    return verifier_of(keys)


def sign(password: str, change_id: str, sealed: str) -> str:
    """Return a push's signature by a server that has the verifier of `password`."""
    return push_signature(verifier(password).server_key, change_id=change_id, sealed=sealed)


def at(days: float = 0, now: datetime | None = None) -> str:
    """Return the time `days` from now in its form on the wire."""
    return ((now or datetime.now(UTC)) + timedelta(days=days)).isoformat().replace("+00:00", "Z")


def seal(device: Json, plain: bytes) -> str:
    """Return a sealed box for the device of a `hello`."""
    key = PublicKey(b64decode(device["public_key"]))
    return b64encode(SealedBox(key).encrypt(plain)).decode()


class Peer:
    """One client's connection, for a script. Reading raises EOFError at its end."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hellos: list[Json]
    ) -> None:
        self._reader, self._writer = reader, writer
        self._hellos = hellos
        self.protocol = ServerProtocol(subprotocols=[Subprotocol(SUBPROTOCOL)])
        self._requests: deque[Request] = deque()
        self._messages: deque[Json] = deque()
        self.closes = True
        """Whether the peer closes the socket after a close frame, as RFC 6455 demands."""

    async def _read(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            data = await self._reader.read(65536)
        if not data:
            raise EOFError
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            if isinstance(event, Request):
                self._requests.append(event)
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self._messages.append(json.loads(bytes(event.data)))
        self.write(b"".join(self.protocol.data_to_send()))
        if self.protocol.close_rcvd and self.closes:
            raise EOFError

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)

    async def more(self, data: bytes) -> None:
        """Send bytes once all earlier ones have left, and read nothing before that."""
        self._writer.write(data)
        await self._writer.drain()

    def hang_up(self) -> None:
        """Cut the connection with an RST."""
        linger = struct.pack("ii", 1, 0)
        connection: socket.socket = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._writer.transport.abort()

    async def request(self) -> Request:
        """Return the client's HTTP request."""
        while not self._requests:
            await self._read()
        return self._requests.popleft()

    async def upgrade(self, *, without: str = "", **extra: str) -> None:
        """Accept the upgrade, `without` one header, with `extra` headers added or replaced."""
        response = self.protocol.accept(await self.request())
        replaced = {name.replace("_", "-"): value for name, value in extra.items()}
        for name in (without, *replaced):
            if name in response.headers:
                del response.headers[name]
        response.headers.update(replaced)
        self.protocol.send_response(response)
        self.write(b"".join(self.protocol.data_to_send()))

    def send(self, message: Json | str) -> None:
        """Send a text message."""
        text = message if isinstance(message, str) else json.dumps(message)
        self.frame(Opcode.TEXT, text.encode())

    def frame(self, opcode: Opcode, data: bytes, *, fin: bool = True) -> None:
        """Send one frame, even where the protocol forbids it."""
        self.write(Frame(opcode, data, fin).serialize(mask=False))

    async def receive(self) -> Json:
        """Return the next message."""
        while not self._messages:
            await self._read()
        message = self._messages.popleft()
        if message.get("type") == "hello":
            self._hellos.append(message)
        return message

    async def hello(self) -> Json:
        """Accept the upgrade. Return the first message."""
        await self.upgrade()
        return await self.receive()

    async def challenge(self, hello: Json, passwords: Mapping[str, str] = KNOWN) -> ServerLogin:
        """Send a valid challenge. Return the server's half of the login."""
        first, verifiers = ClientFirst.parse(hello["scram"]), [verifier(each) for each in passwords]
        login = ServerLogin(first, verifiers, nonce="nonce-of-the-fake-gateway")
        self.send({"type": "challenge", "scram": login.challenge})
        return login

    async def log_in(
        self, passwords: Mapping[str, str] = KNOWN, hello: Json | None = None, **more: Any
    ) -> Json:
        """Log the client in by the protocol. Return its `hello`.

        `passwords` maps passwords to `current` or `old`; `more` are fields of the `welcome`.
        """
        while True:
            hello = hello or await self.hello()
            login = await self.challenge(hello, passwords)
            if found := login.check((await self.receive())["scram"]):
                kind = list(passwords.values())[found[0]]
                until = {"valid_until": at(30)} if kind == "old" else {}
                welcome = {"type": "welcome", "scram": found[1], "password": kind, **until}
                self.send({**welcome, "server_time": at(), **more})
                return hello
            self.send({"type": "rejected", "reason": "credentials"})
            hello = await self.receive()

    async def show_code(self, code: str = CODE, expires_in_s: int = 600) -> Json:
        """Accept the upgrade, and answer the `pair` with a code. Return the `pair`."""
        pair = await self.hello()
        self.send({"type": "pairing_code", "code": code, "expires_in_s": expires_in_s})
        return pair

    def hand_over(
        self, pair: Json, *, user: str = USER, box: bytes | None = None, **sealed: str
    ) -> None:
        """Send the sealed password; `box` replaces its content, `sealed` fields of the message."""
        honest = {"change_id": CHANGE_ID, "device_id": pair["device"]["id"], "password": PASSWORD}
        text = json.dumps({**honest, **sealed}).encode() if box is None else box
        paired = {"type": "paired", "change_id": CHANGE_ID, "user": user}
        self.send({**paired, "sealed": seal(pair["device"], text)})

    async def closed(self) -> None:
        """Read until the client is gone."""
        while True:
            await self._read()


Script = Callable[[Peer], Awaitable[object]]


def honest(passwords: Mapping[str, str] = KNOWN, **welcome: Any) -> Script:
    """Log the client in as often as it asks. `passwords` maps passwords to `current` or `old`."""

    async def script(peer: Peer) -> None:
        hello = None
        while True:
            await peer.log_in(passwords, hello, **welcome)
            while (hello := await peer.receive())["type"] != "hello":
                pass

    return script


def pairing(passwords: Mapping[str, str] = KNOWN, **handed_over: Any) -> Script:
    """Hand a password over to a client that asks for a code; log every other client in."""

    async def script(peer: Peer) -> None:
        first = await peer.hello()
        if first["type"] != "pair":
            await peer.log_in(passwords, first)
            return
        peer.send({"type": "pairing_code", "code": CODE, "expires_in_s": 600})
        peer.hand_over(first, **handed_over)

    return script


def steps(*each: Callable[[Peer], object]) -> Script:
    """Return a script that calls each function in turn, and awaits each result."""

    async def script(peer: Peer) -> None:
        for step in each:
            result = step(peer)
            if isawaitable(result):
                await result

    return script


async def challenged(peer: Peer) -> None:
    """Accept the upgrade and the `hello`, and send the challenge."""
    await peer.challenge(await peer.hello())


def answering(**answer: Any) -> Script:
    """Answer any proof with this message."""
    return steps(challenged, Peer.receive, lambda peer: peer.send(answer))


def raw(data: bytes) -> Script:
    """Answer the request with these bytes."""
    return steps(Peer.request, lambda peer: peer.write(data))


def http(answer: str, body: bytes = b"<html><body>Please accept our terms</body></html>") -> Script:
    """Answer the request with this status, its headers, and a page."""
    head = f"HTTP/1.1 {answer}\r\nContent-Type: text/html\r\nContent-Length: {len(body)}"
    return raw(f"{head}\r\nConnection: close\r\n\r\n".encode() + body)


@dataclass
class Visit:
    """One connection of the client, with the code and reason of its close."""

    began: float
    ended: float | None = None
    close_code: int | None = None
    farewell: str = ""


class FakeGateway:
    """A gateway on loopback that runs its script for each connection."""

    def __init__(self, script: Script | None = None) -> None:
        self._script = script or honest()
        self.address = ""
        self.port = 0
        self.hellos: list[Json] = []
        """Each `hello` received."""
        self.visits: list[Visit] = []
        """Connections since the script was last changed."""
        self.faults: list[BaseException] = []
        """Exceptions that scripts have raised."""

    def play(self, script: Script) -> None:
        """Run this script for each connection from now on."""
        self.visits, self._script = [], script

    def first_has_ended(self) -> bool:
        """Return whether the first connection to this script has ended."""
        return bool(self.visits) and self.visits[0].ended is not None

    @asynccontextmanager
    async def running(
        self, *, tls: ssl.SSLContext | None = None, port: int = 0
    ) -> AsyncIterator[str]:
        """Listen until the end of the context. Yield the address."""
        async with listening(self._visit, tls=tls, port=port) as self.port:
            self.address = f"{'wss' if tls else 'ws'}://127.0.0.1:{self.port}/gateway"
            yield self.address

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        peer, visit = Peer(reader, writer, self.hellos), Visit(time())
        self.visits.append(visit)
        try:
            await self._script(peer)
            await peer.closed()
        except (EOFError, ConnectionError):
            pass
        except Exception as exc:  # noqa: BLE001 - the test looks at it
            self.faults.append(exc)
        finally:
            writer.close()
            if close := peer.protocol.close_rcvd:
                visit.close_code, visit.farewell = close.code, close.reason
            visit.ended = time()
