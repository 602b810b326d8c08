"""Reconnect one real client thousands of times, with a real server and a real keyring.

Each reconnect is the menu's "Reconnect". Before every tenth one, the connection is reset, and the
client must notice this.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from pathlib import Path

from demo.private_keyring import private_keyring
from soak.sample import Sample
from tests.support.installation import ADMIN, ADMIN_PASSWORD, Installation
from tests.support.loop_thread import LoopThread
from tests.support.pc import Pc
from tests.support.polling import eventually
from tests.support.wire import Wire

RESET_EVERY = 10


def run(count: int, *, samples: int) -> list[Sample]:
    """Reconnect `count` times; return `samples` samples, the first after a tenth of that."""
    with (
        tempfile.TemporaryDirectory(prefix="coconowork-soak-") as name,
        LoopThread() as servers,
        private_keyring(Path(name, "keyring")) as keyring,
    ):
        installation, file = Installation(Path(name, "data")), Path(name, "samples")
        installation.create()
        with installation.serving() as server:
            wire = Wire(servers, server.gateway)
            pc = Pc(Path(name, "pc"), os.environ | keyring, wire.address, user=ADMIN)
            pc.environ["COCONOWORK_LOG_LEVEL"] = "info"
            pc.log_in(ADMIN_PASSWORD)
            pc.wrapper = (sys.executable, "-m", "soak.probed", str(file))
            pc.start()
            try:
                return _reconnect(pc, wire, file, count, samples)
            finally:
                pc.stop()


def _reconnect(pc: Pc, wire: Wire, file: Path, count: int, samples: int) -> list[Sample]:
    found: list[Sample] = []
    warm = count // 10
    moments = {warm + (count - warm) * number // (samples - 1) for number in range(samples)}
    _wait_for(pc, "standby")
    for number in range(1, count + 1):
        if number % RESET_EVERY == 0:
            wire.reset()
            _wait_for(pc, "retrying")
        pc.tell("reconnect")
        _wait_for(pc, "standby")
        if number in moments:
            found.append(_sample(pc, file, len(found)))
            print(found[-1], flush=True)
    assert found[-1].done > count, "some reconnects made no connection"
    return found


def _wait_for(pc: Pc, state: str) -> None:
    eventually(lambda: (pc.status() or {}).get("state") == state, pause_s=0.003, or_say=pc.told)


def _sample(pc: Pc, file: Path, number: int) -> Sample:
    """Make the client write sample `number`, and return the sample."""
    assert pc.pid is not None
    os.kill(pc.pid, signal.SIGUSR1)
    eventually(lambda: file.exists() and len(file.read_text().splitlines()) > number)
    return Sample(**json.loads(file.read_text().splitlines()[number]))
