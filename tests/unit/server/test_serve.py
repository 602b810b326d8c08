"""The console as `serve` runs it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from http.client import HTTPConnection
from ipaddress import ip_network

import pytest
import uvicorn
from uvicorn.server import ServerState

from server import config
from server.addresses import Network
from server.commands.serve import console, listen
from server.console import http
from server.console.http import Receive, Send


async def test_an_answer_does_not_wait_for_an_acknowledgement() -> None:
    """Connections of the server's listener have TCP_NODELAY, so that answers go out at once."""
    found: list[int] = []

    async def look(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected = writer.get_extra_info("socket")
        found.append(connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    listener = listen("127.0.0.1", 0, option="--port")
    async with await asyncio.start_server(look, sock=listener):
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        assert await reader.read() == b""
        writer.close()
    assert found == [1]


@pytest.mark.usefixtures("database")
def test_console_on_both_families() -> None:
    """`host = "::"` listens on IPv6 and IPv4."""
    listener = listen("::", 0, option="--port")
    port = listener.getsockname()[1]
    with console(listener, config.current()):
        for host in ("127.0.0.1", "::1"):
            connection = HTTPConnection(host, port, timeout=20)
            connection.request("GET", "/healthz")
            assert connection.getresponse().status == 200
            connection.close()


class From(socket.socket):
    """A socket whose peer has any address: loopback has only its own."""

    address = ""

    def getpeername(self) -> tuple[str, int, int, int]:
        return self.address, 1, 0, 0


class Cut(asyncio.Transport):
    """A transport that remembers whether it was aborted."""

    is_cut = False

    def abort(self) -> None:
        self.is_cut = True

    def is_closing(self) -> bool:
        return self.is_cut


async def _unused(_scope: object, _receive: Receive, _send: Send) -> None:
    raise AssertionError("no request is sent")


V6 = "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "2001:db8::3"
STRANGERS, PROXY = ("192.0.2.1", "192.0.2.2", "192.0.2.3"), "10.0.0.2"


@pytest.mark.parametrize(
    ("trusted", "addresses", "cut"),
    [
        ([], V6, [False, False, False, True]),
        ([ip_network(PROXY)], [*STRANGERS, *[PROXY] * 3], [False, False, True] * 2),
    ],
)
async def test_connections_of_the_console_are_limited(
    trusted: list[Network],
    addresses: Sequence[str],
    cut: list[bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Addresses of one /64 share a limit; strangers leave half of the places to the proxy."""
    monkeypatch.setattr(http, "PER_ADDRESS", 2)
    settings = uvicorn.Config(_unused, lifespan="off", log_config=None)
    kind, found = http.protocol(trusted, most=4), []
    with From() as connected:
        for connected.address in addresses:
            opened = kind(settings, ServerState(), {})
            transport = Cut({"socket": connected})
            opened.connection_made(transport)
            found.append(transport.is_cut)
            opened._unset_deadline()
            if transport.is_cut:
                opened.connection_lost(ConnectionAbortedError())
    assert found == cut


async def test_requests_at_once_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most `MAX_REQUESTS` run at once; a request whose body is still coming does not count."""
    monkeypatch.setattr(http, "MAX_REQUESTS", 2)
    running, most, may_end = 0, 0, asyncio.Event()

    async def app(scope: object, receive: Receive, send: Send) -> None:
        nonlocal running, most
        while (await receive()).get("more_body"):
            pass
        running += 1
        most = max(most, running)
        await may_end.wait()
        running -= 1

    limited = http.limit_requests(app)

    async def request(*, is_whole: bool) -> None:
        coming = iter([{"type": "http.request", "more_body": not is_whole}])

        async def receive() -> object:
            return next(coming, None) or await asyncio.Event().wait()

        async def send(message: object) -> None:
            pass

        await limited({"method": "POST", "path": "/", "headers": []}, receive, send)

    slow = [asyncio.create_task(request(is_whole=False)) for _ in range(3)]
    quick = [asyncio.create_task(request(is_whole=True)) for _ in range(5)]
    await asyncio.sleep(0.05)
    assert running == 2
    may_end.set()
    await asyncio.gather(*quick)
    assert most == 2
    for each in slow:
        each.cancel()
