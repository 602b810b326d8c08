"""Connections that are reset or silent while a client waits; sleep and resume."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from time import sleep

import pytest

from agent.connection import PROBE_S
from agent.core import events as ev
from agent.core.state import State
from agent.runtime import Runtime
from tests.support.fake_gateway import PASSWORD, FakeGateway, Peer, honest, seal
from tests.support.hostile_scripts import push
from tests.support.loop_thread import LoopThread
from tests.support.pc import Pc
from tests.support.polling import eventually
from tests.support.runtimes import runtime_in_memory
from tests.support.wire import Wire

pytestmark = pytest.mark.keyring


@pytest.fixture
def gateway() -> FakeGateway:
    """Return a gateway that does not listen yet."""
    return FakeGateway()


@pytest.fixture
def wire(servers: LoopThread, gateway: FakeGateway) -> Wire:
    """Return a relay to an honest gateway."""
    servers.host(gateway.running())
    return Wire(servers, gateway.port)


@pytest.fixture
def waiting(wire: Wire) -> Iterator[Runtime]:
    """Yield a client in this process, in standby, to which the test reports what Windows would."""
    runtime = runtime_in_memory(wire.address, password=PASSWORD)
    runtime.start()
    runtime.post(ev.Started())
    eventually(lambda: runtime.view.state is State.STANDBY)
    yield runtime
    runtime.post(ev.QuitRequested())
    assert runtime.join(20)


@pytest.fixture
def pc(wire: Wire, new_pc: Callable[..., Pc]) -> Pc:
    """Return a client at the end of the wire, in standby."""
    one = new_pc(wire.address)
    one.start()
    one.says("standby")
    return one


def test_resets_while_it_waits(wire: Wire, pc: Pc, gateway: FakeGateway) -> None:
    """Each reset is logged once as a lost connection, and the client reconnects."""
    for number in (1, 2):
        wire.reset()
        eventually(lambda: len(pc.troubles()) == number, or_say=pc.log)  # noqa: B023 - now
        assert pc.troubles()[-1][:2] == ("connection_lost", "closed with 1006")
        pc.says("standby")
    assert len(gateway.hellos) == 3
    pc.check()


def test_a_dead_connection_is_noticed_at_the_resume(
    waiting: Runtime, wire: Wire, gateway: FakeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """The resume probes the connection, and the client is back before any keepalive."""
    wire.pull()
    wire.plug_in()  # the old connection stays dead
    waiting.post(ev.NetworkChanged())
    eventually(lambda: len(gateway.hellos) == 2)
    eventually(lambda: waiting.view.state is State.STANDBY)
    assert caplog.text.count("connection_lost") == 1


def test_a_live_connection_survives_the_resume(
    waiting: Runtime, gateway: FakeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """A probe that is answered changes nothing."""
    caplog.set_level("DEBUG", "agent.runtime")
    waiting.post(ev.NetworkChanged())
    eventually(lambda: "NetworkChanged -> Probe" in caplog.text)
    sleep(PROBE_S + 0.5)  # as long as an answer could take
    assert waiting.view.state is State.STANDBY
    assert len(gateway.hellos) == 1


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
    """The pushed password is kept, tried first on the next connection, and then stored."""
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
