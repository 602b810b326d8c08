"""TLS in the gateway itself: what goes wrong below the WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from pathlib import Path

import pytest
from websockets.frames import Frame, Opcode

from server.console.models import User
from server.gateway import listener, transport
from server.gateway.server import Gateway
from server.gateway.session import Limits
from tests.support.gateway_client import DEADLINE_S, Client
from tests.support.raw import HELLO, UPGRADE, certificate, raw
from tests.support.server_fixtures import P1, eventually


async def _nobody(gateway: Gateway) -> None:
    async def is_alone() -> bool:
        return not gateway._listener.wires

    await eventually(is_alone)


@pytest.mark.parametrize(
    "sent", [UPGRADE.encode(), b"\x16\x03\x01\x00\x05hello", b"\x16\x03\x03\xff\xff"]
)
async def test_what_is_no_tls(tmp_path: Path, database: None, sent: bytes) -> None:
    """An alert at most, then the end; whoever speaks TLS is served as ever."""
    offered, trusted = certificate(tmp_path)
    async with Gateway(tls=offered) as gateway:
        async with raw(gateway.port) as (reader, writer):
            writer.write(sent)
            with contextlib.suppress(ConnectionError):
                assert (await reader.read())[:1] in {b"", b"\x15"}
        async with Client(gateway.port, scheme="wss", ssl=trusted) as client:
            await client.begin("nobody", P1)
        await _nobody(gateway)


async def test_silence_in_the_handshake(
    tmp_path: Path, database: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handshake that is not done in time holds no connection, and counts for its address."""
    monkeypatch.setattr(transport, "OPEN_SECONDS", 0)
    monkeypatch.setattr(listener, "SWEEP_SECONDS", 0.02)
    offered, _ = certificate(tmp_path)
    async with Gateway(tls=offered) as gateway, raw(gateway.port) as (reader, writer):
        writer.write(b"\x16\x03\x01\x02\x00\x01")
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        await _nobody(gateway)
        assert not gateway._listener._opening


async def test_records_cut_anywhere(tmp_path: Path, user: User) -> None:
    """Byte by byte, and several records at once: it makes no difference."""
    offered, trusted = certificate(tmp_path)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trusted.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    async with Gateway(tls=offered) as gateway, raw(gateway.port) as (reader, writer):

        async def send() -> None:
            for byte in outgoing.read():
                writer.write(bytes((byte,)))
                await writer.drain()

        async def receive(size: int = 1) -> bytes:
            plain = b""
            while len(plain) < size:
                with contextlib.suppress(ssl.SSLWantReadError):
                    plain += tls.read()
                    continue
                incoming.write(await reader.read(65536))
            return plain

        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
                break
            await send()
            incoming.write(await reader.read(65536))
        tls.write(UPGRADE[:7].encode())
        tls.write(UPGRADE[7:].encode())
        await send()
        assert b" 101 " in await receive()
        frame = Frame(Opcode.TEXT, HELLO).serialize(mask=True)
        tls.write(Frame(Opcode.PING, b"x").serialize(mask=True) + frame[:9])
        tls.write(frame[9:])
        await send()
        assert b'"challenge"' in await receive(20)
        # The client says goodbye to TLS alone: so does the gateway, and closes.
        with pytest.raises(ssl.SSLWantReadError):
            tls.unwrap()
        await send()
        incoming.write(await reader.read())
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.unwrap()
        await _nobody(gateway)


async def test_last_words_come_through(tmp_path: Path, database: None) -> None:
    """Whoever is cut off in the middle of sending still hears why: only our half is closed."""
    offered, trusted = certificate(tmp_path)
    async with Gateway(tls=offered) as gateway, raw(gateway.port, trusted) as (reader, writer):
        writer.write(UPGRADE.encode())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(Frame(Opcode.BINARY, b"x").serialize(mask=True) + b"x" * 200_000)
        said = await reader.read()
        assert said[:1] == b"\x88"
        assert int.from_bytes(said[2:4]) == 1003
        writer.close()
        await _nobody(gateway)


async def test_slow_reader_of_tls(
    tmp_path: Path, database: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who sends and does not read fills no memory of ours."""
    monkeypatch.setattr(transport, "UNREAD_BYTES", 1024)
    offered, trusted = certificate(tmp_path)
    flood = Frame(Opcode.PING, b"x" * 125).serialize(mask=True) * 500

    def send_for_ever(port: int) -> None:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as slow,
            trusted.wrap_socket(slow, server_hostname="127.0.0.1") as encrypted,
        ):
            encrypted.sendall(UPGRADE.encode())
            while True:
                encrypted.sendall(flood)

    async with Gateway(tls=offered, limits=Limits(message_burst=10**9)) as gateway:
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await asyncio.to_thread(send_for_ever, gateway.port)
        await _nobody(gateway)
