"""Many clients of a server that dies come back spread out over time."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from time import monotonic
from unittest import mock

import pytest

from agent.core import events as ev
from agent.core.state import State
from agent.core.view import View
from agent.runtime import instant
from bench import machine, people
from tests.support.installation import Installation, Server
from tests.support.loop_thread import LoopThread
from tests.support.pbkdf2 import derived_once
from tests.support.places import ROOT
from tests.support.polling import eventually
from tests.support.runtimes import runtime_in_memory
from tests.support.wire import Wire

CLIENTS = int(os.environ.get("COCONOWORK_CLIENTS", "200"))
ROUNDS = 1 if CLIENTS < 1000 else 2
"""Tries of every client while the server is away."""


class Member:
    """One client of the fleet, with its state and delays."""

    def __init__(self, number: int, address: str) -> None:
        self.state = State.CONNECTING
        self.delays: list[float] = []
        """Seconds that it chose to wait, since it was last in standby."""
        self.runtime = runtime_in_memory(
            address, user=people.username(number), password=people.PASSWORD, show=self._show
        )

    def _show(self, view: View) -> None:
        self.state = view.state
        if view.next_try_at is not None:
            self.delays.append((view.next_try_at - instant().wall).total_seconds())


class Fleet:
    """Clients of one server, on a loop of their own."""

    def __init__(self, count: int, address: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._shared = ThreadPoolExecutor(4)
        with mock.patch.object(asyncio, "new_event_loop", return_value=self._loop):
            self.members = [Member(n, address) for n in range(1, count + 1)]
        self._loop.set_default_executor(self._shared)  # for key derivation
        self._thread = threading.Thread(target=self._run, name="fleet")

    def __enter__(self) -> Fleet:
        self._thread.start()
        return self

    def come(self) -> None:
        """Start all clients in groups, and wait until they are logged in."""
        for first in range(0, len(self.members), 200):
            some = self.members[first : first + 200]
            for member in some:
                member.runtime.post(ev.Started())
            eventually(lambda: all(m.state is State.STANDBY for m in some), within_s=120)  # noqa: B023 - now

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            member.runtime.post(ev.QuitRequested())
        self._thread.join()
        self._shared.shutdown()

    def _run(self) -> None:
        async def live() -> None:
            await asyncio.gather(*(member.runtime._main() for member in self.members))
            for _ in range(3):  # closed transports release their sockets one turn later
                await asyncio.sleep(0)

        self._loop.run_until_complete(live())
        self._loop.close()

    def all_are(self, state: State) -> bool:
        return all(member.state is state for member in self.members)

    def forget_delays(self) -> None:
        for member in self.members:
            member.delays.clear()

    def round(self, number: int) -> list[float]:
        """Return the delay that each client chose after its failure of this number, from 0."""
        return [member.delays[number] for member in self.members]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Yield a server that knows all of them."""
    installation = Installation(tmp_path / "data")
    subprocess.run(
        [sys.executable, "-m", "bench.seed", str(CLIENTS), str(CLIENTS)],
        env=installation.environment(),
        cwd=ROOT,
        check=True,
        timeout=100,
    )
    with installation.serving() as running:
        yield running


def spread(delays: list[float], span_s: float) -> list[int]:
    """Count the delays in each tenth of the allowed span. None may be outside."""
    least_s = span_s / 10
    assert least_s - 0.05 <= min(delays)
    assert max(delays) <= span_s
    tenths = Counter(min(9, int((d - least_s) / (span_s - least_s) * 10)) for d in delays)
    return [tenths[number] for number in range(10)]


@pytest.mark.timeout(300)
def test_clients_of_a_dead_server_come_back_spread_out(servers: LoopThread, server: Server) -> None:
    """No tenth of a round has twice its share of tries, and all clients come back."""
    machine.raise_file_limit()
    wire = Wire(servers, server.gateway)
    with derived_once(), Fleet(CLIENTS, wire.address) as fleet:
        fleet.come()
        fleet.forget_delays()
        wire.arrivals.clear()
        dead = monotonic()
        server.stop(signal.SIGKILL)
        enough = ROUNDS + 1
        eventually(lambda: min(len(m.delays) for m in fleet.members) >= enough, within_s=120)
        tries = [at - dead for at in wire.arrivals]
        for number, span_s in list(enumerate((3.0, 6.0, 12.0)))[: ROUNDS + 1]:
            tenths = spread(fleet.round(number), span_s)
            print(f"round {number + 1}, {span_s / 10:.1f} to {span_s:.0f} s, by tenths: {tenths}")
            assert max(tenths) <= CLIENTS / 10 * 2
        back = monotonic()
        wire.arrivals.clear()
        server.start()
        if CLIENTS < 1000:  # all PCs get their network back, too: no client waits for long
            for member in fleet.members:
                member.runtime.post(ev.NetworkChanged())
        eventually(lambda: fleet.all_are(State.STANDBY), within_s=120)
        print(f"tries in each second without a server: {per_second(tries)}")
        returned = sorted(at - back for at in wire.arrivals)
        print(f"tries in each second from its restart on: {per_second(returned)}")
        print(f"all back after {monotonic() - back:.1f} s")
        # No clients try in step: the busiest 100 ms of the first round have no crowd in them.
        first = sorted(fleet.round(0))
        crowd = max(sum(1 for each in first if low <= each < low + 0.1) for low in first)
        assert crowd <= CLIENTS * 0.12
        assert all(later >= earlier for earlier, later in pairwise(returned))


def per_second(moments: list[float]) -> list[int]:
    """Count the moments in each second."""
    counted = Counter(int(moment) for moment in moments)
    return [counted[second] for second in range(max(counted, default=0) + 1)]
