"""A small client of the gateway for tests, on scramp and PyNaCl, without the agent's code."""

from __future__ import annotations

import asyncio
import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar

from nacl.public import PrivateKey, SealedBox
from scramp import ScramClient
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from protocol import messages

_T = TypeVar("_T")
DEADLINE_S = 15


def new_key() -> PrivateKey:
    return PrivateKey.generate()


def describe(key: PrivateKey, *, name: str = "PC-1", version: str = "1.2.3") -> messages.Device:
    """Return the device of `key`, as a `hello` has it."""
    raw = bytes(key.public_key)
    return messages.Device(
        id=hashlib.sha256(raw).digest()[:16].hex(),
        public_key=b64encode(raw).decode(),
        name=name,
        os="Windows 11",
        version=version,
    )


class Client:
    """A client: `async with Client(port) as client`, then `log_in`, `expect`, `closed`."""

    def __init__(
        self,
        port: int,
        *,
        key: PrivateKey | None = None,
        scheme: str = "ws",
        host: str = "127.0.0.1",
        **extra: Any,
    ) -> None:
        self.key = key or new_key()
        self.device = describe(self.key)
        self._url = f"{scheme}://{host}:{port}{messages.PATH}"
        self._extra = extra
        self.socket: ClientConnection

    async def __aenter__(self) -> Self:
        self.socket = await connect(
            self._url,
            subprotocols=[messages.SUBPROTOCOL],  # type: ignore[list-item]  # a NewType of str
            compression=None,
            proxy=None,
            **self._extra,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.socket.close()

    async def send(self, message: messages.ClientMessage) -> None:
        await self.socket.send(messages.encode(message).decode())

    async def receive(self) -> messages.ServerMessage:
        async with asyncio.timeout(DEADLINE_S):
            text = await self.socket.recv()
        assert isinstance(text, str)
        return messages.decode_from_server(text.encode())

    async def expect(self, kind: type[_T]) -> _T:
        message = await self.receive()
        assert isinstance(message, kind), message
        return message

    async def begin(self, username: str, password: str) -> tuple[ScramClient, messages.Challenge]:
        """Send `hello`. Return the client's half of SCRAM and the challenge."""
        scram = ScramClient(["SCRAM-SHA-256"], username, password)
        await self.send(messages.Hello(scram=scram.get_client_first(), device=self.device))
        return scram, await self.expect(messages.Challenge)

    async def prove(self, scram: ScramClient, challenge: messages.Challenge) -> None:
        scram.set_server_first(challenge.scram)
        final = await asyncio.to_thread(scram.get_client_final)
        await self.send(messages.Proof(scram=final))

    async def hello(self, username: str) -> messages.ServerMessage:
        """Begin a login without a password. Return the answer."""
        await self.send(messages.Hello(scram=f"n,,n={username},r=x", device=self.device))
        return await self.receive()

    async def prove_wrongly(self, answer: messages.ServerMessage) -> messages.Rejected:
        """Send a wrong proof if `answer` is a challenge. Return why the login is refused."""
        if isinstance(answer, messages.Challenge):
            nonce = answer.scram.split(",")[0]
            await self.send(messages.Proof(scram=f"c=biws,{nonce},p=AAAA"))
            answer = await self.receive()
        assert isinstance(answer, messages.Rejected)
        return answer

    async def try_log_in(
        self, username: str, password: str
    ) -> messages.Welcome | messages.Rejected:
        """Log in and check the server's signature. Return the answer."""
        scram, challenge = await self.begin(username, password)
        await self.prove(scram, challenge)
        answer = await self.receive()
        if isinstance(answer, messages.Welcome):
            scram.set_server_final(answer.scram)
        assert isinstance(answer, messages.Welcome | messages.Rejected), answer
        return answer

    async def log_in(self, username: str, password: str) -> messages.Welcome:
        answer = await self.try_log_in(username, password)
        assert isinstance(answer, messages.Welcome), answer
        return answer

    async def pair(self) -> str:
        """Ask for a code to show. Return the code."""
        await self.send(messages.Pair(device=self.device))
        return (await self.expect(messages.PairingCode)).code

    async def takes(self, username: str, new: str) -> None:
        """Take the push of a new password, and log in with it."""
        pushed = await self.expect(messages.PasswordChanged)
        assert self.open(pushed.sealed)["password"] == new
        assert (await self.log_in(username, new)).password == "current"

    async def closed(self) -> int:
        """Wait until the server closes without another message. Return its close code."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                surprise = await self.socket.recv()
        except ConnectionClosed:
            assert self.socket.close_code is not None
            return self.socket.close_code
        raise AssertionError(surprise)

    def open(self, sealed: str) -> dict[str, str]:
        """Return the content of a sealed box for this device."""
        opened = json.loads(SealedBox(self.key).decrypt(b64decode(sealed)))
        assert isinstance(opened, dict)
        return opened


UPGRADE = (
    f"GET {messages.PATH} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Protocol: {messages.SUBPROTOCOL}\r\n\r\n"
)
HELLO = messages.encode(messages.Hello(scram="n,,n=unknown,r=nonce", device=describe(new_key())))


@asynccontextmanager
async def raw(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a TCP connection, without WebSocket, until the end of the context."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(DEADLINE_S):
            yield reader, writer
    finally:
        writer.close()
