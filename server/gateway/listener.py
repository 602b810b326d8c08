"""Accepts clients, and looks after the deadlines of all that are there."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter, deque
from collections.abc import Callable
from functools import partial

from server.gateway.tls import TlsTransport
from server.gateway.transport import Endpoint, Wire

SWEEP_SECONDS = 1
SLICE = 200
"""Connections that are looked after before the loop goes on with other things."""
BACKLOG = 4096
"""Clients that the kernel keeps waiting for us when they all come at once."""


class Listener:
    """Accepts connections, and looks after the deadlines of all that are open."""

    def __init__(
        self, endpoint: Endpoint, *, frame_burst: int, frames_per_s: float, settle_s: float
    ) -> None:
        """A connection may send `frame_burst` frames at once and `frames_per_s` in the long run,
        and has `settle_s` seconds until `Wire.settle`."""
        self.endpoint = endpoint
        self.frame_burst = frame_burst
        self.frames_per_s = frames_per_s
        self.settle_s = settle_s
        self.stopping = False
        self.wires: set[Wire] = set()
        self._soon: deque[Callable[[], None]] = deque()
        self._is_working = False
        self._opening: Counter[str] = Counter()
        self.loop: asyncio.AbstractEventLoop
        self._server: asyncio.Server
        self._sweeper: asyncio.Task[None]
        self._empty = asyncio.Event()

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Raise OSError when it cannot listen there."""
        self.loop = asyncio.get_running_loop()
        wrap = None if tls is None else partial(tls.wrap_bio, server_side=True)

        def connected() -> asyncio.Protocol:
            wire = Wire(self)
            return wire if wrap is None else TlsTransport(wire, wrap)

        self._server = await self.loop.create_server(connected, host, port, backlog=BACKLOG)
        self._sweeper = asyncio.create_task(self._sweep_for_ever())

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.sockets[0].getsockname()[1])

    def stop(self) -> None:
        """Accept nothing more, and cut off whose request has yet to come. The others are for the
        caller to close."""
        self.stopping = True
        self._server.close()
        for wire in list(self.wires):
            if wire.is_opening:
                wire.abort()

    async def wait_closed(self) -> None:
        """Until the last connection is gone: they all must be closing."""
        if self.wires:
            self._empty.clear()
            await self._empty.wait()
        self._sweeper.cancel()
        await asyncio.wait([self._sweeper])

    def lets_in(self, peer: str) -> bool:
        """Count a connection that begins, unless there are too many from there."""
        if not self.endpoint.lets_in(peer, opening=self._opening[peer]):
            return False
        self._opening[peer] += 1
        return True

    def has_opened(self, peer: str) -> None:
        """It has said what it wants, or is gone."""
        self._opening[peer] -= 1
        if not self._opening[peer]:
            del self._opening[peer]

    def forget(self, wire: Wire) -> None:
        """It is gone."""
        self.wires.discard(wire)
        if not self.wires:
            self._empty.set()

    def soon(self, work: Callable[[], None]) -> None:
        """Do it in its turn. When thousands of connections end at once, what has to be done for
        each must not hold up everybody else."""
        self._soon.append(work)
        if not self._is_working:
            self._is_working = True
            self.loop.call_soon(self._work)

    def _work(self) -> None:
        try:
            for _ in range(min(SLICE, len(self._soon))):
                self._soon.popleft()()
        finally:
            self._is_working = bool(self._soon)
            if self._is_working:
                self.loop.call_soon(self._work)

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = self.loop.time()
            overdue = [wire for wire in self.wires if wire.is_overdue(now)]
            for number, wire in enumerate(overdue):
                if wire.is_overdue(now):
                    wire.look_after(now)
                if number % SLICE == SLICE - 1:
                    await asyncio.sleep(0)
