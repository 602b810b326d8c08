"""Read the states of devices that wait: one statement for any number of them.

Every push waits for this. On PostgreSQL it runs on the gateway's own loop, because a thread would
wait for the interpreter lock while thousands log in. SQLite blocks, so there it runs on a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

from django.db import DatabaseError, connections

from server import config
from server.cluster import database
from server.gateway import queries
from server.gateway.queries import DeviceState

if TYPE_CHECKING:
    import psycopg

_GENERIC_PLANS = "SET plan_cache_mode = force_generic_plan"
"""Planning the statement each time takes five times as long as the statement itself."""


class StateReader:
    """Enter it on the loop, then `read`."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "gateway-pushes")
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await self.read([])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()
        await asyncio.get_running_loop().run_in_executor(self._thread, connections.close_all)
        self._thread.shutdown()

    async def read(self, asked: Sequence[tuple[int, str]]) -> list[DeviceState | None]:
        """Return the states, by user and device id; None for no such user. Raise DatabaseError."""
        if not config.current().is_postgresql:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, queries.device_states, asked)
        import psycopg

        async with self._lock:
            while True:
                was_open = self._connection is not None
                try:
                    if self._connection is None:
                        self._connection = await database.connect(
                            _GENERIC_PLANS, prepare_threshold=0
                        )
                    cursor = await self._connection.execute(*queries.ask_states(asked))
                    [row] = await cursor.fetchall()
                    return queries.read_states(row, len(asked))
                except psycopg.Error as exc:
                    await self._close()
                    if not was_open:  # else a restart of PostgreSQL may have broken it long ago
                        raise DatabaseError(str(exc)) from exc

    async def _close(self) -> None:
        opened, self._connection = self._connection, None
        if opened is not None:
            await opened.close()
