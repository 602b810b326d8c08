"""Connections that stood: reset and silent; sleep and resume. Real sockets, the real client."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator

import pytest

from tests.support.bus_service import Answer, BusService
from tests.support.fake_gateway import PASSWORD, FakeGateway, Peer, honest, seal
from tests.support.hostile_scripts import push
from tests.support.loop_thread import LoopThread
from tests.support.pc import Pc
from tests.support.polling import eventually
from tests.support.wire import Wire

pytestmark = pytest.mark.keyring

LOGIND = "org.freedesktop.login1"
OURS = f"/{LOGIND.replace('.', '/')}/session/_35"


@pytest.fixture
def gateway() -> FakeGateway:
    """A gateway that does not listen yet."""
    return FakeGateway()


@pytest.fixture
def wire(servers: LoopThread, gateway: FakeGateway) -> Wire:
    """The way to an honest gateway."""
    servers.host(gateway.running())
    return Wire(servers, gateway.port)


class Sleeper:
    """logind on the tests' own bus."""

    def __init__(self, service: BusService) -> None:
        self._service = service

    def wait_for_watcher(self) -> None:
        """Until a client has asked for the session's state, so that it hears what comes."""
        while self._service.calls.get(timeout=30)[0] != "GetAll":
            pass

    def resume(self) -> None:
        """The PC has woken up."""
        path = f"/{LOGIND.replace('.', '/')}"
        self._service.signal(path, f"{LOGIND}.Manager", "PrepareForSleep", "b", False)


@pytest.fixture
def logind(environ: dict[str, str]) -> Iterator[Sleeper]:
    values = {"LockedHint": ("b", False), "Active": ("b", True)}
    answers: dict[str, Answer] = {
        "GetSession": lambda _: ("o", (OURS,)),
        "GetAll": lambda _: ("a{sv}", (values,)),
    }
    with BusService(environ["DBUS_SESSION_BUS_ADDRESS"], LOGIND, answers) as service:
        yield Sleeper(service)


@pytest.fixture
def pc(wire: Wire, new_pc: Callable[..., Pc], environ: dict[str, str]) -> Pc:
    """A client at the end of the wire, in standby, which hears of a resume."""
    bus = environ["DBUS_SESSION_BUS_ADDRESS"]
    one = new_pc(wire.address, DBUS_SYSTEM_BUS_ADDRESS=bus, XDG_SESSION_ID="5")
    one.start()
    one.says("standby")
    return one


def test_resets_while_it_waits(wire: Wire, pc: Pc, gateway: FakeGateway) -> None:
    """Each is a lost connection, told once a cycle, and mended by the client itself."""
    for number in (1, 2):
        wire.reset()
        eventually(lambda: len(pc.troubles()) == number, or_say=pc.log)  # noqa: B023 - now
        assert pc.troubles()[-1][:2] == ("connection_lost", "closed with 1006")
        pc.says("standby")
    assert len(gateway.hellos) == 3
    pc.check()


def test_a_dead_connection_is_noticed_at_the_resume(
    logind: Sleeper, wire: Wire, pc: Pc, gateway: FakeGateway
) -> None:
    """No keepalive is waited for: the resume asks, and the client is back on the new network."""
    logind.wait_for_watcher()
    wire.pull()
    wire.plug_in()  # the old connection stays dead
    logind.resume()
    eventually(pc.troubles, or_say=pc.log)
    assert pc.log().count("no answer to a probe") == 1
    assert [each[0] for each in pc.troubles()] == ["connection_lost"]
    pc.says("standby")
    assert len(gateway.hellos) == 2
    pc.check()


def test_a_live_connection_survives_the_resume(
    logind: Sleeper, wire: Wire, pc: Pc, gateway: FakeGateway
) -> None:
    """A probe that is answered changes nothing."""
    logind.wait_for_watcher()
    logind.resume()
    eventually(lambda: "NetworkChanged -> Probe" in pc.log(), or_say=pc.log)
    wire.reset()
    eventually(pc.troubles, or_say=pc.log)
    assert "no answer to a probe" not in pc.log()
    pc.says("standby")


def test_stopped_and_continued(wire: Wire, pc: Pc, gateway: FakeGateway) -> None:
    """A process that was frozen while the connection ended (SIGSTOP) notices when it goes on."""
    assert pc.pid is not None
    os.kill(pc.pid, signal.SIGSTOP)
    wire.reset()
    os.kill(pc.pid, signal.SIGCONT)
    eventually(pc.troubles, or_say=pc.log)
    pc.says("standby")
    pc.check()


@pytest.mark.parametrize("step", ["hello", "proof"])
def test_reset_while_it_takes_a_pushed_password(
    servers: LoopThread, gateway: FakeGateway, new_pc: Callable[..., Pc], step: str
) -> None:
    """Between the push and its proof: the pushed password is kept beside the stored one, tried
    first on the next connection, and takes its place."""
    pushed = "Pushed-77"

    async def cut_off(peer: Peer) -> None:
        device = (await peer.log_in({PASSWORD: "old"}))["device"]
        box = {"change_id": "a" * 32, "device_id": device["id"], "password": pushed}
        sealed = seal(device, json.dumps(box).encode())
        peer.send(push("a" * 32, sealed, signed_by=PASSWORD))
        while (hello := await peer.receive())["type"] != "hello":
            pass  # a notice
        if step == "proof":
            await peer.challenge(hello)
            await peer.receive()
        gateway.play(right)
        peer.hang_up()

    right = honest({pushed: "current"})
    gateway.play(cut_off)
    pc = new_pc(servers.host(gateway.running()))
    pc.start()
    eventually(pc.troubles, or_say=pc.told)
    assert pc.troubles()[0][0] == "connection_lost"
    pc.says("standby")

    eventually(lambda: (pc.stored().password, pc.stored().pending) == (pushed, None))
    assert len(gateway.visits) == 1
    assert gateway.faults == []
    pc.check()
