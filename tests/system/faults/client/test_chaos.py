"""Everything around a waiting client is frozen, killed and broken, one after the other."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import sleep

import pytest

from agent.connection import PROBE_S
from agent.core import events as ev
from demo.private_keyring import PrivateKeyring
from tests.support.fake_gateway import FakeGateway
from tests.support.installation import P1, P2, Server
from tests.support.loop_thread import LoopThread
from tests.support.pc import Pc
from tests.support.polling import eventually
from tests.support.runtimes import ClientInMemory
from tests.support.wire import Wire

pytestmark = pytest.mark.keyring


def test_a_console_that_is_paused_and_closed(
    servers: LoopThread, new_pc: Callable[..., Pc]
) -> None:
    """The client runs on when its terminal is paused, and when it is closed."""
    gateway = FakeGateway()
    pc = new_pc(servers.host(gateway.running()))
    reading, writing = os.pipe()
    os.write(writing, bytes(fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)))
    process = subprocess.Popen(
        [sys.executable, "-m", "agent", "run", "--autostart"],
        env=pc.environ,
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=writing,
    )
    try:
        pc.says("standby")
        process.send_signal(signal.SIGHUP)
        pc.tell("reconnect")
        eventually(lambda: len(gateway.hellos) == 2)
        pc.says("standby")
        pc.tell("quit")
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(reading)
        os.close(writing)
    assert "coconowork client ends" in pc.log()


def test_a_resume(servers: LoopThread, caplog: pytest.LogCaptureFixture) -> None:
    """The client probes its connection: a live one stays, a dead one is replaced at once."""
    caplog.set_level("DEBUG", "agent.runtime")
    servers.host((gateway := FakeGateway()).running())
    wire = Wire(servers, gateway.port)
    client = ClientInMemory(wire.address)
    client.sign_in()
    client.says("standby")

    client.post(ev.NetworkChanged())
    eventually(lambda: "NetworkChanged -> Probe" in caplog.text)
    sleep(PROBE_S + 0.5)  # an answer may take PROBE_S
    client.says("standby")
    assert len(gateway.hellos) == 1

    wire.pull()
    wire.plug_in()  # does not revive the old connection
    client.post(ev.NetworkChanged())
    eventually(lambda: len(gateway.hellos) == 2)
    client.says("standby")
    assert "trouble: connection_lost" in caplog.text
    client.end()


@pytest.mark.timeout(300)
def test_everything_breaks_around_a_waiting_client(
    servers: LoopThread,
    server: Server,
    keyring: PrivateKeyring,
    new_pc: Callable[..., Pc],
    tmp_path: Path,
) -> None:
    """After each two of all faults, in random order, the client is in standby and takes a push."""
    server.installation.add_user("chaos")
    wire = Wire(servers, server.gateway)
    pc = new_pc(wire.address, user="chaos", password=P1, **keyring.environment)
    pc.start()
    pc.says("standby")
    pid, state, aside = pc.pid or 0, pc.paths.state_dir, tmp_path / "aside"

    def no_state() -> None:
        state.rename(aside)
        state.touch()

    def state_again() -> None:
        state.unlink()
        aside.rename(state)

    def no_keyring() -> None:
        keyring.stop_service()
        keyring.stop_bus()

    def keyring_again() -> None:
        keyring.start_bus()
        keyring.start_service()

    def freeze() -> None:
        os.kill(pid, signal.SIGSTOP)
        wire.reset()

    def go_on() -> None:
        os.kill(pid, signal.SIGCONT)

    freeze()
    go_on()
    eventually(pc.troubles, or_say=pc.log)  # noticed without a reconnect command
    assert pc.troubles()[0][:2] == ("connection_lost", "closed with 1006")
    pc.says("standby")
    faults: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
        "the client is frozen, and its connection ends": (freeze, go_on),
        "no state folder": (no_state, state_again),
        "no keyring": (no_keyring, keyring_again),
        "a silent network": (wire.pull, wire.plug_in),
        "a reset": (wire.reset, lambda: None),
        "no log folder": (lambda: shutil.rmtree(pc.paths.log_file.parent, True), lambda: None),
    }
    for _ in range(2):
        order = random.sample(list(faults), len(faults))
        print(order)
        for first, second in zip(order[::2], order[1::2], strict=True):
            for name in (first, second):
                faults[name][0]()
            sleep(0.5)
            for name in (second, first):
                faults[name][1]()
            pc.tell("reconnect")
            pc.says("standby")
    assert pc.pid == pid
    with server.browser("chaos", P1) as browser:
        browser.change_password(P1, P2)
        browser.wait_for_text("Applied")
    pc.has_only(P2)
    pc.check()
