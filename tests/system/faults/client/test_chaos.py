"""Everything around a waiting client is frozen, killed and broken, one after the other."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.support.fake_gateway import FakeGateway
from tests.support.loop_thread import LoopThread
from tests.support.pc import Pc
from tests.support.polling import eventually

pytestmark = pytest.mark.keyring


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_paused_console(servers: LoopThread, new_pc: Callable[..., Pc], stream: str) -> None:
    """A console whose user has paused it takes no more text; the client goes on and quits."""
    gateway = FakeGateway()
    pc = new_pc(servers.host(gateway.running()))
    reading, writing = os.pipe()
    os.write(writing, bytes(fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)))
    command, quiet = [sys.executable, "-m", "agent", "run", "--autostart"], subprocess.DEVNULL
    streams = {"stdout": quiet, "stderr": quiet} | {stream: writing}
    process = subprocess.Popen(
        command,
        env=pc.environ,
        stdin=quiet,
        stdout=streams["stdout"],
        stderr=streams["stderr"],
    )
    try:
        pc.says("standby")
        for number in range(2, 4):
            pc.tell("reconnect")
            eventually(lambda: len(gateway.hellos) == number)  # noqa: B023 - waited for in this turn
            pc.says("standby")
        pc.tell("quit")
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(reading)
        os.close(writing)
    assert "coconowork client ends" in pc.log()
