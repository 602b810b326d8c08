"""Connections that stood: reset and silent; sleep and resume. Real sockets, the real client."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from tests.support.bus_service import Answer, BusService
from tests.support.false_gateway import FalseGateway, Peer, false_gateways, seal
from tests.support.fault_pc import Pc, until
from tests.support.gateway import PASSWORD, Gateway, running
from tests.support.hostile_scripts import push
from tests.support.loop_stage import Stage
from tests.support.wire import Wire

pytestmark = pytest.mark.keyring

LOGIND = "org.freedesktop.login1"
OURS = f"/{LOGIND.replace('.', '/')}/session/_35"


@pytest.fixture
def gateways() -> Iterator[list[FalseGateway]]:
    with false_gateways(1) as found:
        yield found


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def wire(stage: Stage, gateway: Gateway) -> Wire:
    """The way to an honest gateway."""
    port = urlsplit(stage.host(running(gateway))).port
    assert port is not None
    return Wire(stage, port)


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
    one.client.start()
    one.says("standby")
    return one


def test_resets_while_it_waits(wire: Wire, pc: Pc, gateway: Gateway) -> None:
    """Each is a lost connection, told once a cycle, and mended by the client itself."""
    for number in (1, 2):
        wire.reset()
        until(lambda: len(pc.troubles()) == number, or_say=pc.log)  # noqa: B023 - now
        assert pc.troubles()[-1][:2] == ("connection_lost", "closed with 1006")
        pc.says("standby")
    assert len(gateway.logins) == 3
    pc.check()


def test_a_dead_connection_is_noticed_at_the_resume(
    logind: Sleeper, wire: Wire, pc: Pc, gateway: Gateway
) -> None:
    """No keepalive is waited for: the resume asks, and the client is back on the new network."""
    logind.wait_for_watcher()
    wire.pull()
    wire.plug_in()  # the old connection stays dead
    logind.resume()
    until(pc.troubles, or_say=pc.log)
    assert pc.log().count("no answer to a probe") == 1
    assert [each[0] for each in pc.troubles()] == ["connection_lost"]
    pc.says("standby")
    assert len(gateway.logins) == 2
    pc.check()


def test_a_live_connection_survives_the_resume(
    logind: Sleeper, wire: Wire, pc: Pc, gateway: Gateway
) -> None:
    """A probe that is answered changes nothing."""
    logind.wait_for_watcher()
    logind.resume()
    until(lambda: "NetworkChanged -> Probe" in pc.log(), or_say=pc.log)
    wire.reset()
    until(pc.troubles, or_say=pc.log)
    assert "no answer to a probe" not in pc.log()
    pc.says("standby")


def test_stopped_and_continued(wire: Wire, pc: Pc, gateway: Gateway) -> None:
    """A process that was frozen while the connection ended (SIGSTOP) notices when it goes on."""
    status = pc.client.status()
    assert status is not None
    os.kill(status["pid"], signal.SIGSTOP)
    wire.reset()
    os.kill(status["pid"], signal.SIGCONT)
    until(pc.troubles, or_say=pc.log)
    pc.says("standby")
    pc.check()


@pytest.mark.parametrize("step", ["hello", "proof"])
def test_reset_while_it_takes_a_pushed_password(
    gateways: list[FalseGateway], new_pc: Callable[..., Pc], step: str
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

    async def right(peer: Peer) -> None:
        await peer.log_in({pushed: "current"})

    gateway = gateways[0]
    gateway.play(cut_off)
    pc = new_pc(gateway.address)
    pc.client.start()
    until(pc.troubles, or_say=pc.told)
    assert pc.troubles()[0][0] == "connection_lost"
    pc.says("standby")

    def is_committed() -> bool:
        record = pc.stored()
        return record is not None and (record.password, record.pending) == (pushed, None)

    until(is_committed)
    assert len(gateway.visits) == 1
    assert gateway.faults == []
    pc.check()
