"""Accept connections, and check the deadlines of all of them in one sweep a second."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection

from server.gateway.connection import ClientConnection
from server.sockets import bind

SWEEP_SECONDS = 1
BATCH = 200
"""Connections that are handled before the loop goes on with other work."""
BACKLOG = 4096
"""Clients that the kernel keeps waiting when they all come at once."""


class Listener:
    """Accept connections between `start` and `stop`."""

    def __init__(self) -> None:
        self._soon: deque[Callable[[], None]] = deque()
        self._is_scheduled = False
        self._server: asyncio.Server | None = None

    async def start(
        self, host: str, port: int, new_connection: Callable[[], ClientConnection]
    ) -> int:
        """Listen, and return the port. Raise OSError."""
        loop = asyncio.get_running_loop()
        bound = bind(host, port)
        self._server = await loop.create_server(new_connection, sock=bound, backlog=BACKLOG)
        return int(bound.getsockname()[1])

    def stop(self) -> None:
        """Accept nothing more."""
        if self._server is not None:
            self._server.close()

    def call_soon_batched(self, work: Callable[[], None]) -> None:
        """Call `work` soon, with other callbacks of the loop between every `BATCH` of such calls.

        When thousands of connections end at once, what has to be done for each delays no one else.
        """
        self._soon.append(work)
        self._schedule()

    def _schedule(self) -> None:
        if self._soon and not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._work)

    def _work(self) -> None:
        self._is_scheduled = False
        try:
            for _ in range(min(BATCH, len(self._soon))):
                self._soon.popleft()()
        finally:
            self._schedule()


async def sweep_deadlines(connections: Collection[ClientConnection]) -> None:
    """Check the deadlines of the connections once a second, until the task is cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        now = loop.time()
        due = [connection for connection in connections if connection.is_due(now)]
        for number, connection in enumerate(due):
            if connection.is_due(now):
                connection.check_deadline(now)
            if number % BATCH == BATCH - 1:
                await asyncio.sleep(0)
