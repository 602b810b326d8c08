"""Handle thousands of connections without delaying the loop: queue calls, sweep deadlines.

One sweep a second checks the deadlines of all connections, so that none has a timer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection

from server.gateway.connection import ClientConnection

SWEEP_SECONDS = 1
BATCH = 200
"""Connections that are handled before the loop goes on with other work."""
BACKLOG = 4096
"""Most connections that the kernel queues until the loop accepts them."""


class CallQueue:
    """Queue functions, and call `BATCH` of them at a time, between other callbacks of the loop.

    So thousands of connections that end at once do not delay the others.
    """

    def __init__(self) -> None:
        self._calls: deque[Callable[[], None]] = deque()
        self._is_scheduled = False

    def add(self, call: Callable[[], None]) -> None:
        self._calls.append(call)
        self._schedule()

    def _schedule(self) -> None:
        if self._calls and not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._work)

    def _work(self) -> None:
        self._is_scheduled = False
        try:
            for _ in range(min(BATCH, len(self._calls))):
                self._calls.popleft()()
        finally:
            self._schedule()


async def sweep_deadlines(connections: Collection[ClientConnection]) -> None:
    """Check the deadlines of the connections once a second, until the task is cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        now = loop.time()
        due = [connection for connection in connections if connection.due <= now]
        for number, connection in enumerate(due):
            if connection.due <= now:
                connection.check_deadline(now)
            if number % BATCH == BATCH - 1:
                await asyncio.sleep(0)
