"""Many connections, slow senders and large names delay neither waiting clients nor new ones."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import (
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from pathlib import Path
from time import monotonic
from typing import Any, Self

import psutil
import pytest
import requests
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode

from protocol import messages
from server.console import http
from tests.support.browser import Browser
from tests.support.gateway_client import UPGRADE as UPGRADE_TEXT
from tests.support.gateway_client import Client
from tests.support.installation import P1, P2, Installation, Server
from tests.support.polling import eventually, eventually_async

UPGRADE = UPGRADE_TEXT.encode()
HALF_A_FORM = b"POST /login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\nusername="
OPENINGS = [
    b"",
    UPGRADE[:60],
    UPGRADE + b"\x81\xfe\x10\x00half",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]
"""Nothing, half an upgrade, half a frame, half a TLS hello."""
FLOODER = "127.0.0.66"
TOO_MANY = 620
"""More connections than gateway, before a login, and console allow one address."""
PONG_S = 1.0
"""The latest pong that a client may get during a flood."""
PINGERS = 3
PAUSE_S = 0.6
"""Seconds between a client's pings: two frames a second are allowed."""
LOG_BYTES = 100_000
"""The most that a flood may write to the log."""
Newcomer = Callable[..., Awaitable[None]]
_numbers = itertools.count(1)


@contextmanager
def flood(
    port: int, number: int, opening: bytes, address: str = FLOODER
) -> Iterator[list[socket.socket]]:
    """Open `number` connections from `address` that send `opening` and then nothing."""
    with ExitStack() as stack:
        sockets = []
        for _ in range(number):
            each = socket.create_connection(("127.0.0.1", port), source_address=(address, 0))
            sockets.append(stack.enter_context(each))
            with suppress(OSError):
                each.sendall(opening)
        yield sockets


def first_lines(sockets: list[socket.socket]) -> list[bytes]:
    """Return the first line of each connection's answer."""
    for each in sockets:
        each.settimeout(30)
    return [each.recv(12) for each in sockets]


def is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


class Pingers:
    """`with Pingers(server, user) as pingers`: clients that ping, on a separate thread.

    `slowest_s` is the longest time to a pong, less the time in which the server's main thread
    or the pingers' thread was ready but had no core: other tests share the machine.
    """

    def __init__(self, server: Server, user: str) -> None:
        self._server, self._user = server, user
        self._thread = threading.Thread(target=lambda: asyncio.run(self._ping_all()))
        self._are_ready, self._has_ended = threading.Event(), threading.Event()
        self.slowest_s = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._are_ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._has_ended.set()
        self._thread.join()

    async def _ping_all(self) -> None:
        async with AsyncExitStack() as stack:
            clients = [Client(self._server.gateway) for _ in range(PINGERS)]
            for client in clients:
                await stack.enter_async_context(client)
                await client.log_in(self._user, P1)
            self._are_ready.set()
            while not self._has_ended.is_set():
                for client in clients:
                    await self._ping(client)
                    await asyncio.sleep(PAUSE_S / PINGERS)

    async def _ping(self, client: Client) -> None:
        begin, lost_before = monotonic(), self._lost_s()
        await (await client.socket.ping())
        seconds = monotonic() - begin - (self._lost_s() - lost_before)
        self.slowest_s = max(self.slowest_s, seconds)

    def _lost_s(self) -> float:
        pid = self._server.process.pid
        threads = f"/proc/{pid}/task/{pid}", f"/proc/self/task/{threading.get_native_id()}"
        waits = [Path(each, "schedstat").read_text().split()[1] for each in threads]
        return sum(map(int, waits)) / 1e9


@pytest.fixture(scope="module", params=[{"METRICS": "127.0.0.1:0"}])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Yield one server with the parameter's options, for all floods with these options."""
    installation = Installation(tmp_path_factory.mktemp("server") / "data")
    installation.create()
    with installation.serving(**request.param) as running:
        yield running


FEW = ["prlimit", "--nofile=1000", sys.executable, "-m", "server"]
FEW_FILES = pytest.mark.parametrize("server", [{"program": FEW}], indirect=True)
"""A server with 1,000 file descriptors in all."""


@asynccontextmanager
async def attacked(server: Server) -> AsyncIterator[Newcomer]:
    """Have a new user's client wait during a flood. Yield a function that logs in another PC.

    Check afterwards that pongs came in time, that the log is small, and that the client gets a
    push.
    """
    user = f"user{next(_numbers)}"
    server.installation.add_user(user)
    logged = len(server.logged())

    async def newcomer(**options: Any) -> None:
        async with Client(server.gateway, **options) as client:
            assert (await client.log_in(user, P1)).password == "current"

    async with Client(server.gateway) as waiting:
        await waiting.log_in(user, P1)
        with Pingers(server, user) as pingers:
            yield newcomer
        assert pingers.slowest_s < PONG_S
        assert len(server.logged()) - logged < LOG_BYTES
        with server.browser(user, P1) as browser:
            browser.change_password(P1, P2)
        await waiting.takes(user, P2)


async def the_console_answers(server: Server) -> None:
    """Assert that the console shows its login page."""
    with Browser(server.console) as browser:
        assert (await asyncio.to_thread(browser.get, "/login/")).status_code == 200


async def test_gateway_is_flooded(server: Server) -> None:
    """Hundreds of connections that stop at any point before a login lock out no PC."""
    async with attacked(server) as newcomer:
        for opening in OPENINGS:
            with flood(server.gateway, TOO_MANY // len(OPENINGS), opening):
                await newcomer()
        with flood(server.gateway, TOO_MANY, UPGRADE) as sockets:
            answers = await asyncio.to_thread(first_lines, sockets)
            assert answers.count(b"HTTP/1.1 101") >= 500  # more on a slow machine
            await newcomer()

            async def one_of_the_same_address_too() -> bool:
                with suppress(InvalidStatus):
                    await newcomer(local_addr=(FLOODER, 0))
                    return True
                return False

            await eventually_async(one_of_the_same_address_too, within_s=15)  # floods have 20


async def test_flood_of_new_pcs(server: Server) -> None:
    """2,000 PCs of one address ask for a code: 30 get one, and no row is left."""
    pair = messages.encode(messages.Pair(device=Client(0).device))
    frame = Frame(Opcode.TEXT, pair).serialize(mask=True)
    async with attacked(server) as newcomer:
        for _ in range(2_000 // 400):
            with flood(server.gateway, 400, UPGRADE + frame) as sockets:
                await asyncio.to_thread(first_lines, sockets)
        await newcomer()
        url = f"http://127.0.0.1:{server.port('metrics')}/metrics"
        figures = await asyncio.to_thread(requests.get, url, timeout=9)
        assert 'coconowork_pairings_total{outcome="begun"} 30.0' in figures.text
        rows = "SELECT count(*) FROM console_pairing"
        await asyncio.to_thread(eventually, lambda: server.installation.query(rows) == [(0,)])


async def test_console_is_flooded(server: Server) -> None:
    """One address has a limit of connections; a half-sent request is cut off."""
    async with attacked(server):
        port = server.port("console")
        with flood(port, TOO_MANY, b"GET /login/ HT") as sockets:

            def only_so_many() -> bool:
                return sum(not is_closed(each) for each in sockets) == http.PER_ADDRESS

            await asyncio.to_thread(eventually, only_so_many)
            await the_console_answers(server)
        with flood(port, 100, HALF_A_FORM):
            await the_console_answers(server)


@FEW_FILES
async def test_no_file_descriptor_is_left(server: Server) -> None:
    """Without free file descriptors the server stays idle, keeps its clients, and recovers."""
    async with attacked(server) as newcomer:
        process = psutil.Process(server.process.pid)
        before = process.rlimit(psutil.RLIMIT_NOFILE)
        for what in ("gateway", "console"):
            used = len(os.listdir(f"/proc/{process.pid}/fd"))  # noqa: PTH208 - a count
            process.rlimit(psutil.RLIMIT_NOFILE, (used + 5, before[1]))
            with flood(server.port(what), 60, b""):
                begin = server.cpu_s()
                await asyncio.sleep(3)  # time in which a defect would spin
                assert server.cpu_s() - begin < 1.5
            process.rlimit(psutil.RLIMIT_NOFILE, before)
            await newcomer()


@FEW_FILES
async def test_one_port_leaves_the_other_its_descriptors(server: Server) -> None:
    """A flood from many addresses on one port leaves the other port its descriptors."""
    async with attacked(server) as newcomer:
        for flooded in ("gateway", "console"):
            with ExitStack() as stack:
                for address in ("127.0.0.67", "127.0.0.68", "127.0.0.69"):
                    stack.enter_context(flood(server.port(flooded), 400, b"GET ", address))
                if flooded == "gateway":
                    await the_console_answers(server)
                else:
                    await newcomer()
