"""Networks and servers that fail: a pulled cable, lost packets, and restarts."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.installation import ADMIN, ADMIN_PASSWORD, P1, P2, Installation, Server
from tests.support.loop_thread import LoopThread
from tests.support.polling import eventually
from tests.support.runtimes import ClientInMemory
from tests.support.wire import Weather, Wire

NewClient = Callable[..., ClientInMemory]


@pytest.fixture
def new_client() -> Iterator[NewClient]:
    """`new_client(address, user=…, password=…)` returns a client that runs."""
    with ExitStack() as stack:

        def make(address: str, user: str = ADMIN, password: str = ADMIN_PASSWORD) -> ClientInMemory:
            one = ClientInMemory(address, user=user, password=password)
            one.sign_in()
            stack.callback(one.end)
            return one

        yield make


@pytest.fixture
def wire(server: Server, servers: LoopThread) -> Wire:
    """Return a relay to the server."""
    return Wire(servers, server.gateway)


def test_a_pulled_cable_is_noticed(new_client: NewClient, wire: Wire) -> None:
    """A silent connection is noticed within 40 s, with the reason `timed_out`."""
    client = new_client(wire.address)
    client.says("standby")
    wire.pull()
    start = time.monotonic()
    shown = client.says("retrying", "timed_out", within_s=60)
    assert time.monotonic() - start < 40
    assert shown.next_try_at is not None
    wire.plug_in()
    client.says("standby", within_s=60)


def test_a_push_in_bad_weather(new_client: NewClient, server: Server, wire: Wire) -> None:
    """A push arrives although 5 % of the segments are lost and each is delayed by 500 ms."""
    server.installation.add_user("weather")
    wire.weather = Weather(delay_s=0.5, loss=0.05)
    client = new_client(wire.address, "weather", P1)
    client.says("standby", within_s=60)
    with server.browser("weather", P1) as browser:
        browser.change_password(P1, P2)
        browser.wait_for_text("Applied")
    client.has_only(P2)


def test_a_server_that_restarts(new_client: NewClient, tmp_path: Path) -> None:
    """The client comes back after a clean stop and after a kill of the server."""
    installation = Installation(tmp_path / "data")
    installation.create()
    with installation.serving() as server:
        client = new_client(server.address)
        client.says("standby")
        for how in (signal.SIGTERM, signal.SIGKILL):
            server.stop(how)
            reasons = {"shutting_down", "unreachable", "connection_lost"}
            shown = client.tray.wait_for(lambda view: view.state.value == "retrying")
            assert shown.reason is not None
            assert shown.reason.value in reasons
            server.start()
            client.says("standby", within_s=60)
        assert server.stop() == 0


def test_two_clients_with_one_key_become_two_pcs(server: Server, new_client: NewClient) -> None:
    """A copied PC and its original displace each other until one makes a key of its own.

    Then both get a push.
    """
    server.installation.add_user("copied")
    first = new_client(server.address, "copied", P1)
    first.says("standby")
    second = ClientInMemory(server.address, user="copied", password=P1)
    second.vault.write(second.identity, first.stored())
    key = first.stored().device_key
    second.sign_in()
    waits, displaced = second, first
    for _ in range(5):
        waits.says("standby")
        displaced.says("retrying", "superseded")
        displaced.reconnect()
        waits, displaced = displaced, waits
    for client in (first, second):
        client.says("standby")
    with server.browser("copied", P1) as browser:
        assert browser.open("/").text.count(">Waiting<") == 2
        result = urlsplit(browser.change_password(P1, P2).url).path
        eventually(lambda: browser.open(result).text.count("Applied") == 2)
    for client in (first, second):
        client.has_only(P2)
    assert second.stored().device_key == key != first.stored().device_key
    second.end()
