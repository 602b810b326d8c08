"""Clients as small and fast as can be, so that ten thousand of them fit into one process.

They speak `coconowork.v1` with WebSocket frames made by hand, and MQTT 3.1.1 for the peer.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from base64 import b64encode
from typing import Protocol, cast

from bench import people
from protocol.messages import (
    PATH,
    SUBPROTOCOL,
    Challenge,
    Proof,
    Welcome,
    decode_from_server,
    encode,
)

_UPGRADE = (
    f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
).encode()
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10


class Owner(Protocol):
    """Who is told what becomes of a client."""

    def came_in(self, client: Client) -> None: ...
    def received(self, client: Client, payload: bytes, at_ns: int) -> None: ...
    def sent_away(self, client: Client) -> None: ...
    def lost(self, client: Client, why: str) -> None: ...


class Client(asyncio.Protocol):
    """What the two kinds have in common."""

    __slots__ = ("buffer", "is_in", "number", "owner", "pinged_ns", "reason", "transport")

    def __init__(self, number: int, owner: Owner) -> None:
        self.number = number
        self.owner = owner
        self.buffer = b""
        self.is_in = False
        self.reason = "closed by the server"
        self.pinged_ns = 0
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.begin()

    def connection_lost(self, exc: Exception | None) -> None:
        self.owner.lost(self, str(exc) if exc else self.reason)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        self.buffer = self.buffer + data if self.buffer else data
        while self.buffer and self.step(now):
            pass

    def give_up(self, why: str) -> None:
        """Cut the connection."""
        self.reason = why
        self.transport.abort()

    def enter(self) -> None:
        """The login is done."""
        self.is_in = True
        self.owner.came_in(self)

    def begin(self) -> None:
        raise NotImplementedError

    def step(self, now: int) -> bool:
        """Deal with what the buffer begins with; False when it is not all there."""
        raise NotImplementedError

    def ping(self) -> None:
        raise NotImplementedError

    def answer_close(self) -> None:
        """End, after the server has said that it goes."""
        self.transport.close()


class GatewayClient(Client):
    """Logs in by SCRAM and checks the server's signature, unless `bare`; then it listens."""

    __slots__ = ("auth", "bare", "upgraded", "user")

    def __init__(
        self, number: int, owner: Owner, *, user: str | None = None, bare: bool = False
    ) -> None:
        super().__init__(number, owner)
        self.user = user or people.username(number)
        self.upgraded = False
        self.bare = bare
        """The server is the bare baseline, whose answers are always the same."""
        self.auth = ""

    def begin(self) -> None:
        self.transport.write(_UPGRADE)

    def send(self, payload: bytes, opcode: int = _TEXT) -> None:
        """One frame. Masked with zeros, which costs the server the same as any other mask."""
        size = len(payload)
        head = (
            bytes((0x80 | opcode, 0x80 | size))
            if size < 126
            else (bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big"))
        )
        self.transport.write(head + b"\0\0\0\0" + payload)

    def ping(self) -> None:
        self.pinged_ns = time.monotonic_ns()
        self.send(b"", _PING)

    def answer_close(self) -> None:
        if not self.transport.is_closing():
            self.send(b"\x03\xe8", _CLOSE)

    def step(self, now: int) -> bool:
        if not self.upgraded:
            return self._upgrade()
        data = self.buffer
        if len(data) < 2:
            return False
        size, start = data[1], 2
        if size == 126:
            if len(data) < 4:
                return False
            size, start = int.from_bytes(data[2:4], "big"), 4
        end = start + size
        if len(data) < end:
            return False
        self.buffer = data[end:]
        opcode = data[0] & 0x0F
        if opcode == _TEXT:
            self._text(data[start:end], now)
        elif opcode == _PING:
            self.send(data[start:end], _PONG)
        elif opcode == _PONG:
            self.pinged_ns = 0
        elif opcode == _CLOSE:
            self.reason = f"closed: {data[start + 2 : end].decode()}"
            self.owner.sent_away(self)
        return True

    def _upgrade(self) -> bool:
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return False
        if not head.startswith(b"HTTP/1.1 101"):
            self.give_up(head.partition(b"\r\n")[0].decode())
            return False
        self.upgraded = True
        self.buffer = rest
        self.auth, message = people.hello(self.user, self.number, secrets.token_urlsafe(18))
        self.send(message)
        return True

    def _text(self, payload: bytes, now: int) -> None:
        if self.is_in:
            self.owner.received(self, payload, now)
            return
        message = decode_from_server(payload)
        if isinstance(message, Challenge):
            nonce = message.scram.partition(",")[0]
            final = f"c=biws,{nonce}"
            self.auth = f"{self.auth},{message.scram},{final}"
            keys = people.keys()
            signature = hmac.digest(keys.stored, self.auth.encode(), "sha256")
            proof = bytes(a ^ b for a, b in zip(keys.client, signature, strict=True))
            self.send(encode(Proof(scram=f"{final},p={b64encode(proof).decode()}")))
        elif isinstance(message, Welcome):
            signature = hmac.digest(people.keys().server, self.auth.encode(), "sha256")
            self.auth = ""
            if not self.bare and message.scram != f"v={b64encode(signature).decode()}":
                self.give_up("wrong signature")
            else:
                self.enter()
        else:
            self.give_up(payload.decode())


class MqttClient(Client):
    """Logs in with name and password, subscribes to a topic of its own and to that of all."""

    __slots__ = ()

    def begin(self) -> None:
        name, user = _text(f"PC-{self.number}"), _text(people.username(self.number))
        head = _text("MQTT") + bytes((4, 0b11000010)) + (60).to_bytes(2, "big")
        self._packet(0x10, head + name + user + _text(people.PASSWORD))

    def step(self, now: int) -> bool:
        data, size, start = self.buffer, 0, 1
        while True:
            if len(data) <= start:
                return False
            size |= (data[start] & 0x7F) << (7 * (start - 1))
            start += 1
            if not data[start - 1] & 0x80:
                break
        end = start + size
        if len(data) < end:
            return False
        self.buffer = data[end:]
        self._handle(data[0], data[start:end], now)
        return True

    def _handle(self, first: int, body: bytes, now: int) -> None:
        kind = first >> 4
        if kind == 2 and body[1] == 0:
            topics = (f"pc/{self.number}", "all")
            wanted = b"".join(_text(each) + b"\x01" for each in topics)
            self._packet(0x82, b"\0\x01" + wanted)
        elif kind == 2:
            self.give_up(f"refused with {body[1]}")
        elif kind == 9:
            self.enter()
        elif kind == 3:
            topic = int.from_bytes(body[:2], "big") + 2
            self._packet(0x40, body[topic : topic + 2])
            self.owner.received(self, body[topic + 2 :], now)
        elif kind == 13:
            self.pinged_ns = 0

    def ping(self) -> None:
        self.pinged_ns = time.monotonic_ns()
        self._packet(0xC0, b"")

    def publish(self, topic: str, payload: bytes) -> None:
        """QoS 1."""
        self._packet(0x32, _text(topic) + b"\0\x02" + payload)

    def _packet(self, first: int, body: bytes) -> None:
        size, length = len(body), b""
        while True:
            more = size > 0x7F
            length += bytes(((size & 0x7F) | (0x80 if more else 0),))
            size >>= 7
            if not more:
                break
        self.transport.write(bytes((first,)) + length + body)


def _text(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(2, "big") + encoded
