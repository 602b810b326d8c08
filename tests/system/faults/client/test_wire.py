"""Connections that are reset or silent while a client waits; sleep and resume."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from time import sleep

import pytest

from agent.connection import PROBE_S
from agent.core import events as ev
from agent.core.state import State
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


def test_resets_while_it_waits(wire: Wire, new_pc: Callable[..., Pc], gateway: FakeGateway) -> None:
    """A reset is logged as a lost connection, also by a client that is frozen at that time."""
    pc = new_pc(wire.address)
    pc.start()
    pc.says("standby")
    wire.reset()
    eventually(pc.troubles, or_say=pc.log)
    pc.says("standby")
    os.kill(pc.pid or 0, signal.SIGSTOP)
    wire.reset()
    os.kill(pc.pid or 0, signal.SIGCONT)
    eventually(lambda: len(pc.troubles()) == 2, or_say=pc.log)
    pc.says("standby")
    assert [each[:2] for each in pc.troubles()] == [("connection_lost", "closed with 1006")] * 2
    assert len(gateway.hellos) == 3
    pc.check()


def test_a_resume(wire: Wire, gateway: FakeGateway, caplog: pytest.LogCaptureFixture) -> None:
    """The client probes its connection: a live one stays, a dead one is replaced at once."""
    caplog.set_level("DEBUG", "agent.runtime")
    runtime = runtime_in_memory(wire.address, password=PASSWORD)
    runtime.start()
    runtime.post(ev.Started())
    eventually(lambda: runtime.view.state is State.STANDBY)

    runtime.post(ev.NetworkChanged())
    eventually(lambda: "NetworkChanged -> Probe" in caplog.text)
    sleep(PROBE_S + 0.5)  # as long as an answer could take
    assert runtime.view.state is State.STANDBY
    assert len(gateway.hellos) == 1

    wire.pull()
    wire.plug_in()  # the old connection stays dead
    runtime.post(ev.NetworkChanged())
    eventually(lambda: len(gateway.hellos) == 2)
    eventually(lambda: runtime.view.state is State.STANDBY)
    assert "trouble: connection_lost" in caplog.text
    runtime.post(ev.QuitRequested())
    assert runtime.join(20)


def test_reset_while_it_takes_a_pushed_password(
    servers: LoopThread, gateway: FakeGateway, new_pc: Callable[..., Pc]
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
