"""How the client connects: dead addresses, proxies, slow look-ups, the allowance of messages."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from time import monotonic

import pytest
import spnego
from websockets.exceptions import InvalidProxyStatus

from agent import connection, proxy_login
from agent.address import BadProxy
from agent.connection import Connection, open_connection, reachable
from agent.core import events as ev
from agent.core.failure import Failure, Reason
from agent.proxy_login import LogIn, open_tunnel
from tests.support.certificates import Authority
from tests.support.fake_gateway import FakeGateway, Peer, at
from tests.support.forward_proxies import Proxy
from tests.support.listeners import http, listening, says
from tests.support.ports import free_port

DEAD = "127.0.0.2"
NAME = "gateway.test"


@contextmanager
def swallowing(port: int) -> Iterator[None]:
    """Make Linux drop each SYN to DEAD, by a listener there whose queue is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((DEAD, port))
        listener.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((DEAD, port))
        yield


@pytest.fixture
async def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeGateway]:
    """Run a gateway whose name has two addresses; the first drops packets."""
    authority = Authority(tmp_path / "authority")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    look_up = socket.getaddrinfo

    def two(host: str, port: int, *args: int, **options: int) -> list[object]:
        hosts = [DEAD, "127.0.0.1"] if host == NAME else [host]
        return [found for each in hosts for found in look_up(each, port, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    async with (gateway := FakeGateway()).running(tls=authority.context(NAME)):
        with swallowing(gateway.port):
            yield gateway


async def run(server: str) -> list[ev.Event]:
    events: list[ev.Event] = []
    await Connection(1, server, proxy_setting="system", emit=events.append).run()
    return events


@pytest.mark.parametrize("scheme", [None, "http://", "socks5h://me:word@"])
async def test_a_dead_address_costs_half_a_second(gateway: FakeGateway, scheme: str | None) -> None:
    """If an address of server or proxy is silent for 0.5 s, the next one is tried (RFC 8305)."""
    proxy = Proxy(NAME, gateway.port)
    async with listening(proxy.http if scheme == "http://" else proxy.socks5) as port:
        with swallowing(port):
            address = f"wss://{NAME}" if scheme else f"wss://{NAME}:{gateway.port}"
            by = f"{scheme}{NAME}:{port}" if scheme else None
            began = monotonic()
            opened = await open_connection(f"{address}/gateway", proxy=by)
            assert monotonic() - began < 2
            await opened.close()
    assert proxy.served == ([f"{NAME}:443"] if scheme else [])


async def test_the_next_of_several_proxies_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that refuses, is unknown or is silent is followed by the next one."""
    monkeypatch.setattr(connection, "OPEN_S", 4.0)
    closed = f"http://127.0.0.1:{free_port()}"
    async with listening(http("403 Forbidden")) as port:
        with swallowing(port):
            dead = [closed, "http://no-such-proxy.invalid:3128", f"socks5h://{DEAD}:{port}"]
            answers = f"http://127.0.0.1:{port}"
            assert await reachable([*dead, answers, None]) == answers
        monkeypatch.setattr(connection, "find_proxies", lambda *_: [closed, answers])
        (end,) = await run(f"wss://{NAME}/gateway")
        assert isinstance(end, ev.Disconnected)
        assert end.failure.reason is Reason.PROXY_REFUSED
    for last in (f"http://127.0.0.1:{free_port()}", None):
        assert await reachable([closed, last]) == last


async def test_the_proxy_is_not_looked_up_on_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop runs on while Windows looks up the proxy."""
    goes_on, threads = asyncio.Event(), []
    loop = asyncio.get_running_loop()

    def slow(*_: str) -> list[str | None]:
        threads.append(threading.current_thread())
        asyncio.run_coroutine_threadsafe(goes_on.wait(), loop).result(10)
        raise BadProxy("HTTPS_PROXY")

    monkeypatch.setattr(connection, "find_proxies", slow)
    loop.call_later(0.1, goes_on.set)
    (end,) = await run("wss://gw.example.com/gateway")
    assert threads != [threading.current_thread()]
    assert isinstance(end, ev.Disconnected)
    assert (end.failure.reason, end.failure.detail) == (Reason.PROXY_SETTING, "HTTPS_PROXY")


async def test_an_unescaped_password_of_a_proxy_is_used(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A proxy variable without a scheme may have `#`, `/` and `?` unescaped in the password."""
    heads: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.0 407 Proxy Authentication Required\r\n\r\n")

    async with listening(proxy) as port:
        monkeypatch.setenv("https_proxy", f"me:Tell#tale/x?y@127.0.0.1:{port}")
        with caplog.at_level("DEBUG"):
            (end,) = await run(f"wss://{NAME}/gateway")
    assert isinstance(end, ev.Disconnected)
    assert end.failure.reason is Reason.PROXY_LOGIN
    login = b64encode(b"me:Tell#tale/x?y")
    assert b"Proxy-Authorization: Basic " + login in heads[0]
    assert "Tell" not in caplog.text
    assert login.decode() not in caplog.text


async def test_the_allowance_of_messages_is_refilled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may send 200 messages at once, refilled by 20 a second up to 200."""
    now, wanted = [0.0], asyncio.Queue[int]()
    monkeypatch.setattr(connection, "monotonic", lambda: now[0])
    monkeypatch.setattr(connection, "CLOSE_S", 0.1)
    status = {"type": "password_status", "password": "current", "server_time": at()}

    async def script(peer: Peer) -> None:
        await peer.upgrade()
        while True:
            for _ in range(await wanted.get()):
                peer.send(status)

    async with FakeGateway(script).running() as server:
        events = asyncio.Queue[ev.Event]()
        opened = Connection(1, server, proxy_setting="none", emit=events.put_nowait)
        task = asyncio.create_task(opened.run())
        assert isinstance(await events.get(), ev.Connected)
        for seconds, allowed in ((0, 200), (1, 20), (0.5, 10), (1_000, 200)):
            now[0] += seconds
            wanted.put_nowait(allowed)
            for _ in range(allowed):
                assert isinstance(await events.get(), ev.Received)
        wanted.put_nowait(1)
        assert await events.get() == ev.Disconnected(
            1, Failure(Reason.PROTOCOL, detail="too many messages")
        )
        await task


def account(user: str, password: str, scheme: str, host: str) -> LogIn:
    """Return a proxy login by pyspnego, in place of Windows' SSPI."""
    context = spnego.client(user, password, host, "HTTP", protocol=scheme.lower())
    return lambda challenge: context.step(challenge or None) or b""


@pytest.mark.parametrize(
    ("scheme", "right"), [("NTLM", True), ("Negotiate", True), ("NTLM", False)]
)
async def test_a_proxy_that_asks_for_the_windows_account(
    gateway: FakeGateway,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    *,
    scheme: str,
    right: bool,
) -> None:
    """Real tokens go over one connection; a wrong password is tried once and shown nowhere."""
    (users := tmp_path / "users").write_text("CORP:taro:Office-pass-1")
    monkeypatch.setenv("NTLM_USER_FILE", str(users))
    new_login = partial(account, r"CORP\taro", "Office-pass-1" if right else "Hidden-word-2")
    monkeypatch.setattr(proxy_login, "open_tunnel", partial(open_tunnel, new_login=new_login))
    caplog.set_level(logging.DEBUG)
    proxy = Proxy(NAME, gateway.port, scheme=scheme)
    async with listening(proxy.windows) as port:
        opening = open_connection(f"wss://{NAME}/gateway", proxy=f"http://{NAME}:{port}")
        if right:
            await (await opening).close()
        else:
            with pytest.raises(InvalidProxyStatus):
                await opening
            assert f"the proxy refuses the Windows account ({scheme}): HTTP 407" in caplog.text
    assert (proxy.served, proxy.refused) == ([f"{NAME}:443"] if right else [], 0 if right else 1)
    assert "Hidden-word-2" not in caplog.text


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 407 Sign", b"garbage\r\n\r\n", b"HTTP/1.1 407 x\r\nA: b\r\n\r\n"]
)
async def test_a_proxy_that_answers_oddly(answer: bytes) -> None:
    """An odd answer gives no tunnel; the event loop never waits for Windows' tokens."""
    threads: list[threading.Thread] = []

    def log_in(_: bytes) -> bytes:
        threads.append(threading.current_thread())
        return b"token" if answer else b""

    def new_login(*_: str) -> LogIn:
        log_in(b"")
        return log_in

    async with listening(says(answer)) as port:
        at = f"http://127.0.0.1:{port}"
        with suppress(ConnectionError):
            assert await open_tunnel(at, "gw:443", ["NTLM"], at=at, new_login=new_login) is None
    assert len(threads) == 2
    assert threading.current_thread() not in threads
