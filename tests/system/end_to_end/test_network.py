"""The way to the server: a pulled cable, a bad network, and servers that restart."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.installation import ADMIN, ADMIN_PASSWORD, P1, P2, Installation, Server
from tests.support.loop_thread import LoopThread
from tests.support.pc import Pc
from tests.support.wire import Weather, Wire

pytestmark = pytest.mark.keyring


@pytest.fixture
def wire(server: Server, servers: LoopThread) -> Wire:
    """Return a relay to the server."""
    return Wire(servers, server.gateway)


def test_a_pulled_cable_is_noticed(new_pc: Callable[..., Pc], wire: Wire) -> None:
    """A silent connection is noticed within 40 s, with the reason `timed_out`."""
    pc = new_pc(wire.address, user=ADMIN, password=ADMIN_PASSWORD)
    pc.start()
    pc.says("standby")
    wire.pull()
    start = time.monotonic()
    status = pc.says("retrying", "timed_out", within_s=60)
    assert time.monotonic() - start < 40
    assert status["next_try_at"] is not None
    wire.plug_in()
    pc.says("standby", within_s=60)


def test_a_push_in_bad_weather(new_pc: Callable[..., Pc], server: Server, wire: Wire) -> None:
    """A push arrives with 5 % of all segments lost and 500 ms delay."""
    server.installation.add_user("weather")
    pc = new_pc(wire.address, user="weather", password=P1)
    wire.weather = Weather(delay_s=0.5, loss=0.05)
    pc.start()
    pc.says("standby", within_s=60)
    with server.browser("weather", P1) as browser:
        browser.change_password(P1, P2)
        browser.wait_for_text("Applied")
    pc.has_only(P2)


def test_a_server_that_restarts(new_pc: Callable[..., Pc], tmp_path: Path) -> None:
    """The client comes back after a clean stop and after a kill of the server."""
    installation = Installation(tmp_path / "data")
    installation.create()
    with installation.serving() as server:
        pc = new_pc(server.address, user=ADMIN, password=ADMIN_PASSWORD)
        pc.start()
        pc.says("standby")
        for how, reason in (
            (signal.SIGTERM, "shutting_down"),
            (signal.SIGKILL, "connection_lost"),
        ):
            server.stop(how)
            status = pc.wait_for("retrying")
            assert status["reason"] in {reason, "unreachable"}
            server.start()
            pc.says("standby", within_s=60)
        assert server.stop() == 0
