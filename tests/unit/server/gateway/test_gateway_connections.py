"""The gateway's connections: HTTP before the upgrade, frames, deadlines, and their memory."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_network

import pytest
from msgspec import structs
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from protocol import messages
from server import loop
from server.console.models import Device, User
from server.gateway import connection, listener
from server.gateway.connection import MAX_QUEUED
from server.gateway.server import Gateway
from tests.support.gateway_client import DEADLINE_S, HELLO, UPGRADE, Client, raw
from tests.support.server_fixtures import P1, in_thread, until, with_settings


async def answer(port: int, request: str) -> str:
    """Send a request. Return all bytes of the answer; raise EOFError when there are none."""
    async with raw(port) as (reader, writer):
        writer.write(request.encode("latin-1"))
        said = (await reader.read()).decode()
    if not said:
        raise EOFError
    return said


HEALTH = "GET /healthz HTTP/1.1\r\n\r\n"
ANSWERS = {
    200: [HEALTH, HEALTH.replace("GET", "HEAD"), "GET /healthz?x=1 HTTP/1.0\r\n\r\n"],
    404: ["GET /elsewhere HTTP/1.1\r\n\r\n"],
    405: [UPGRADE.replace("GET", "POST")],
    426: [UPGRADE.replace("Upgrade: websocket\r\n", "")],
    505: [UPGRADE.replace("HTTP/1.1", "HTTP/1.0")],
    400: [
        UPGRADE.replace("coconowork.v1", "other.v1"),
        UPGRADE.replace("Version: 13", "Version: 8"),
        UPGRADE.replace("Host: x", "Transfer-Encoding: chunked"),
        UPGRADE.replace("Host: x", "no colon"),
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        "\r\n\r\n",
        UPGRADE.replace("Connection: Upgrade", "Connection: " + "x," * 200),
    ],
    431: [
        UPGRADE.replace("Host: x", "X: x\r\n" * 300),
        UPGRADE.replace("Host: x", "X: " + "x" * 20_000),
        "x" * 20_000,
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("status", "request_"), [(status, each) for status, all_ in ANSWERS.items() for each in all_]
)
async def test_what_is_no_upgrade(gateway: Gateway, status: int, request_: str) -> None:
    """A request that is no upgrade gets its status, without a Server header, and a close.

    HEAD gets the same answer as GET, without the body.
    """
    said = await answer(gateway.port, request_)
    assert said.startswith(f"HTTP/1.1 {status} ")
    assert "\r\nConnection: close\r\n" in said
    assert "\r\nServer:" not in said
    assert said.endswith("\r\n\r\n") is request_.startswith("HEAD")


async def test_upgrade_in_pieces_and_with_what_follows(gateway: Gateway) -> None:
    """An upgrade works however TCP splits its bytes, also together with the first frame."""
    frame = Frame(Opcode.TEXT, HELLO).serialize(mask=True)
    extension = "Host: x\r\nSec-WebSocket-Extensions: permessage-deflate"  # not accepted
    offered = UPGRADE.replace("Host: x", extension)
    for piece in (1, 10_000):
        async with raw(gateway.port) as (reader, writer):
            data = offered.encode() + frame
            for start in range(0, len(data), piece):
                writer.write(data[start : start + piece])
                await writer.drain()
                await asyncio.sleep(0)
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 101 " in head
            assert f"\r\nSec-WebSocket-Protocol: {messages.SUBPROTOCOL}\r\n".encode() in head
            assert b"Extensions" not in head
            assert b"Server" not in head
            # RFC 6455's own example of a key and its answer.
            assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
            assert b'"challenge"' in await reader.readuntil(b"}")


async def test_message_in_parts(gateway: Gateway) -> None:
    """A message may come in several frames, with a ping between them."""
    async with Client(gateway.port) as client:

        async def parts() -> AsyncIterator[bytes]:
            yield HELLO[:10]
            await client.socket.ping()
            for part in (HELLO[10:11], b"", HELLO[11:]):
                yield part

        await client.socket.send(parts(), text=True)
        await client.expect(messages.Challenge)


NOTICE = messages.Notice(warning=messages.WarningOutcome.SHOWN, days_left=1)
TEXT, PART, PING = Opcode.TEXT, Opcode.CONT, Opcode.PING


@pytest.mark.parametrize(
    "flood",
    [
        [Frame(TEXT, messages.encode(NOTICE))] * 30,
        [Frame(TEXT, b"", fin=False), *[Frame(PART, b"", fin=False)] * 30],
        [Frame(PING, b"")] * 30,
    ],
)
async def test_floods(user: User, flood: list[Frame], monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends too many frames is closed; pings and fragments count, too."""
    monkeypatch.setattr(connection, "FRAME_BURST", 20)
    monkeypatch.setattr(connection, "FRAMES_PER_S", 0.001)
    async with Gateway() as gateway, Client(gateway.port) as client:
        await client.log_in(user.username, P1)
        client.socket.transport.write(b"".join(each.serialize(mask=True) for each in flood))
        assert await client.closed() == 1008


async def test_messages_at_once_are_worked_on_in_order(gateway: Gateway, user: User) -> None:
    """Messages above the queue's limit pause reading; none is lost or out of order."""
    async with Client(gateway.port) as client:
        await client.log_in(user.username, P1)
        for number in range(3 * MAX_QUEUED):
            await client.send(structs.replace(NOTICE, days_left=number))
        scram, challenge = await client.begin(user.username, P1)
        await client.prove(scram, challenge)
        await client.expect(messages.Welcome)
    row = await in_thread(lambda: Device.objects.get(device_id=client.device.id))
    assert row.warned_days_left == 3 * MAX_QUEUED - 1


async def test_slow_reader_is_cut_off(database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends and does not read is cut off, and delays no other client."""
    monkeypatch.setattr(connection, "UNREAD_BYTES", 1024)
    flood = Frame(Opcode.PING, b"x" * 125).serialize(mask=True) * 500

    def send_for_ever(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as slow:
            slow.sendall(UPGRADE.encode())
            while True:
                slow.sendall(flood)

    monkeypatch.setattr(connection, "FRAME_BURST", 10**9)
    async with Gateway() as gateway, Client(gateway.port) as other:
        with pytest.raises(ConnectionError):
            await asyncio.to_thread(send_for_ever, gateway.port)
        await other.begin("unknown", P1)


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("sent", [b"", b"x"])
async def test_who_does_not_upgrade_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """A silent connection, or a request sent byte by byte, is cut off at the deadline."""
    monkeypatch.setattr(connection, "OPEN_SECONDS", 0.5)
    async with Gateway() as gateway, raw(gateway.port) as (reader, writer):
        closed = asyncio.create_task(reader.read())
        while not closed.done():
            writer.write(sent)
            await asyncio.sleep(0.05)  # the attacker's pace
        with contextlib.suppress(ConnectionError):
            assert await closed == b""


async def test_silent_connections_from_one_address(database: None) -> None:
    """Above the limit the next one is cut off, except from a proxy; a close makes room."""
    limited = with_settings(logins_per_address=3)
    trusting = replace(limited, trusted_proxies=(ip_network("127.0.0.0/8"),))
    for gateway, is_full in ((Gateway(limited), True), (Gateway(trusting), False)):
        async with gateway, contextlib.AsyncExitStack() as stack:
            silent = [await stack.enter_async_context(raw(gateway.port)) for _ in range(3)]
            await until_open(gateway, 3)
            if is_full:
                with pytest.raises((ConnectionError, EOFError)):
                    await answer(gateway.port, HEALTH)
                silent[0][1].close()
                await until_open(gateway, 2)
            assert (await answer(gateway.port, HEALTH)).startswith("HTTP/1.1 200 ")


async def test_all_connections_together(database: None) -> None:
    """Above the limit of all connections the next one is cut off, from any address."""
    async with Gateway(max_connections=1) as gateway:
        async with Client(gateway.port):
            with pytest.raises((ConnectionError, EOFError)):
                await answer(gateway.port, HEALTH)
        await until_open(gateway, 0)
        assert (await answer(gateway.port, HEALTH)).startswith("HTTP/1.1 200 ")


async def until_open(gateway: Gateway, number: int) -> None:
    """Wait until `number` connections are open."""
    await until(lambda: len(gateway._registry.connections) == number)


async def test_ipv6(user: User) -> None:
    """`::` listens on IPv6 and IPv4; an IPv4-mapped address counts as the IPv4 address."""
    async with Gateway(with_settings(host="::")) as gateway:
        for host, address in (("127.0.0.1", "127.0.0.1"), ("[::1]", "::1")):
            async with Client(gateway.port, host=host) as client:
                await client.log_in(user.username, P1)
                row = await in_thread(lambda: Device.objects.get(device_id=client.device.id))
                assert row.address == address


async def test_keepalive(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only silent clients get a ping; a client that does not answer it is cut off."""
    monkeypatch.setattr(connection, "PING_SECONDS", 0)
    monkeypatch.setattr(connection, "PONG_SECONDS", 0.1)
    monkeypatch.setattr(listener, "SWEEP_SECONDS", 0.02)
    async with Gateway() as gateway, Client(gateway.port, ping_interval=None) as client:
        seen: asyncio.Queue[Opcode] = asyncio.Queue()
        receive, is_deaf = client.socket.protocol.recv_frame, False

        def look(frame: Frame) -> None:
            seen.put_nowait(frame.opcode)
            if not is_deaf:
                receive(frame)

        monkeypatch.setattr(client.socket.protocol, "recv_frame", look)
        await client.log_in(user.username, P1)
        async with asyncio.timeout(DEADLINE_S):
            assert [await seen.get() for _ in range(5)][2:] == [Opcode.PING] * 3
            monkeypatch.setattr(connection, "PING_SECONDS", 0.5)
            await client.log_in(user.username, P1)
            while not seen.empty():
                seen.get_nowait()
            for _ in range(20):  # 1 s, never silent for 0.5 s
                await (await client.socket.ping())
                await asyncio.sleep(0.05)
            assert {seen.get_nowait() for _ in range(seen.qsize())} == {Opcode.PONG}
            is_deaf = True
            with pytest.raises(ConnectionClosed):
                await client.socket.recv()
        assert client.socket.close_code == 1006


async def come_and_go(port: int, number: int) -> None:
    """Connect; by `number`, send hello, a close frame or garbage; leave."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(UPGRADE.encode())
    await reader.readuntil(b"\r\n\r\n")
    if number % 2:
        writer.write(Frame(Opcode.TEXT, HELLO).serialize(mask=True))
        await reader.readuntil(b"}")
    if number % 3 == 0:
        writer.write(Frame(Opcode.CLOSE, b"").serialize(mask=True))
    elif number % 3 == 1:
        writer.write(b"no frame")
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def left_by_a_crowd(gateway: Gateway) -> set[str]:
    """Return the kinds of our objects that only the garbage collector would free."""

    async def crowd() -> None:
        await asyncio.gather(*(come_and_go(gateway.port, number) for number in range(50)))
        await until_open(gateway, 0)

    await crowd()
    gc.collect()
    gc.disable()
    try:
        before = ours()
        await crowd()
        return set(ours() - before)
    finally:
        gc.enable()


def ours() -> Counter[str]:
    """Return how many objects of each of our kinds exist, garbage included."""
    kinds = (f"{type(each).__module__}.{type(each).__name__}" for each in gc.get_objects())
    return Counter(kind for kind in kinds if kind.startswith(("server.", "websockets.")))


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not for Windows")
def test_on_the_loop_that_serves(user: User) -> None:
    """On uvloop: logins and pings work, no cyclic garbage is left, a stop sends `bye`."""

    async def work() -> None:
        assert type(asyncio.get_running_loop()).__module__.startswith("uvloop")
        async with Gateway(sweep_interval_s=3600) as gateway:
            async with Client(gateway.port) as client:
                await client.log_in(user.username, P1)
                await (await client.socket.ping())
                assert await client.try_log_in(user.username, "wrong") == messages.Rejected(
                    reason="credentials"
                )
            assert await left_by_a_crowd(gateway) == set()
            staying = await Client(gateway.port).__aenter__()
            await staying.log_in(user.username, P1)
        bye = await staying.expect(messages.Bye)
        assert (bye.reason, bye.retry_after_s in range(1, 31)) == ("shutting_down", True)
        assert await staying.closed() == 1001
        await staying.__aexit__(None, None, None)

    with asyncio.Runner(loop_factory=loop.new_loop) as runner:
        runner.run(work())
