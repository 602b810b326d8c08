"""Reconnects for real: a real server, a real keyring, a real client process, one after the other.

Nine of ten are the menu's `reconnect`; each tenth is a reset of the connection, noticed as trouble,
and a `reconnect` then, because nobody wants to wait for the delays of so many troubles.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from agent.control import ask
from agent.paths import Paths, find_paths
from agent.ports import ChannelError
from demo.private_keyring import private_keyring
from soak.sample import Sample
from tests.support.installation import ADMIN, ADMIN_PASSWORD, Installation
from tests.support.loop_thread import LoopThread
from tests.support.places import ROOT
from tests.support.wire import Wire

EACH_S = 30.0
RESET_EVERY = 10
SAMPLES = "samples"


def run(count: int, *, samples: int, tell: Callable[[str], None] = print) -> list[Sample]:
    """`samples` samples of `count` reconnects, the first after a tenth of them."""
    with tempfile.TemporaryDirectory(prefix="coconowork-soak-") as name, LoopThread() as servers:
        directory = Path(name)
        installation = Installation(directory / "data")
        installation.create()
        with installation.serving() as server:
            wire = Wire(servers, server.gateway)
            with _client(directory, wire, ADMIN_PASSWORD) as (client, paths):
                run = Run(client, paths, wire, tell)
                return asyncio.run(run.reconnect(count, samples))


@contextmanager
def _client(
    directory: Path, wire: Wire, password: str
) -> Iterator[tuple[subprocess.Popen[bytes], Paths]]:
    """The probed client, signed in."""
    with private_keyring(directory / "keyring") as keyring:
        environ = {**os.environ, **keyring, "COCONOWORK_HOME": str(directory / "pc")}
        environ.pop("DISPLAY", None)
        subprocess.run(
            [sys.executable, "-m", "agent", "login", "--server", wire.address] + ["--user", ADMIN],
            env=environ,
            input=f"{password}\n".encode(),
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=60,
        )
        with subprocess.Popen(
            [sys.executable, "-m", "soak.probed", str(directory / SAMPLES)],
            env=environ,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                yield process, find_paths(environ)
            finally:
                process.terminate()


@dataclass
class Run:
    """One client, over and over."""

    client: subprocess.Popen[bytes]
    paths: Paths
    wire: Wire
    tell: Callable[[str], None]

    async def reconnect(self, count: int, samples: int) -> list[Sample]:
        began = monotonic()
        await self._until("standby")
        warm = count // 10
        moments = {warm + (count - warm) * n // (samples - 1) for n in range(samples)}
        for number in range(1, count + 1):
            if number % RESET_EVERY == 0:
                await asyncio.to_thread(self.wire.reset)
                await self._until("retrying")
            await ask(self.paths, {"command": "reconnect"}, timeout_s=EACH_S)
            await self._until("standby")
            if number in moments:
                line = await self._sample()
                self.tell(f"{line}  {(monotonic() - began) / number * 1000:.1f} ms each")
        found = [Sample(**json.loads(line)) for line in self._lines()]
        # Every one was a connection of its own: nothing was counted that did not happen.
        assert found[-1].done > count, found[-1]
        return found

    def _lines(self) -> list[str]:
        file = self.paths.log_dir.parent.parent / SAMPLES
        return file.read_text().splitlines() if file.exists() else []

    async def _sample(self) -> str:
        """Have the client write one; what it wrote."""
        before = len(self._lines())
        self.client.send_signal(signal.SIGUSR1)
        async with asyncio.timeout(EACH_S):
            while len(self._lines()) == before:  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.05)
        return self._lines()[-1]

    async def _until(self, state: str) -> None:
        """Wait for the client's state, with a deadline."""
        found = None
        async with asyncio.timeout(EACH_S):
            while found != state:
                assert self.client.poll() is None, "the client has ended"
                try:
                    answer = await ask(self.paths, {"command": "status"}, timeout_s=EACH_S)
                    found = answer["status"]["state"]
                except ChannelError:  # it is starting
                    await asyncio.sleep(0.1)
                else:
                    await asyncio.sleep(0 if found == state else 0.003)
