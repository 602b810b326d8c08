"""Reach the database from a gateway: off the event loop, for many clients at once.

Reads and writes have a thread each, so that a read never waits for a transaction of the console.
A power cut may lose the rows that this module writes (waiting devices, shown warnings). It must
not lose passwords, which the console writes.

Every push waits for `read_states`. On PostgreSQL, this read runs on the gateway's own loop, because
a thread would wait for the interpreter lock while thousands of clients log in.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    ProgrammingError,
    connection,
    connections,
)

from server import clock, config, metrics
from server.cluster import database
from server.gateway import queries, records
from server.gateway.batcher import MAX_ITEMS, Batcher, Unavailable

if TYPE_CHECKING:
    import psycopg

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""Seconds until a disconnect that could not be written is retried."""
_GENERIC_PLANS = "SET plan_cache_mode = force_generic_plan"
"""Plan `read_states` only once: planning takes five times as long as the statement itself."""

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Item = TypeVar("_Item")


class Store:
    """The database of the gateway `name`. Await its methods on the loop; they raise Unavailable."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._secret = b""
        self._reads = ThreadPoolExecutor(1, "gateway-reads")
        self._writes = ThreadPoolExecutor(1, "gateway-writes")
        self._pushes = ThreadPoolExecutor(1, "gateway-pushes")
        self._for_states: psycopg.AsyncConnection[Any] | None = None
        self._reads_states = asyncio.Lock()
        self._batchers: list[Batcher[Any, Any]] = []
        self.look_up = self._batched(self._reads, "look_up", self._look_up)
        """Return what a login needs to begin, for a user name and a device id."""
        self.log_in = self._batched(self._writes, "log_in", partial(records.log_in, gateway=name))
        """Write the login of a correct proof; check again what may have changed."""
        self.open_pairing = self._batched(self._writes, "open_pairings", records.open_pairings)
        """Write that a new PC shows a code. Raise IntegrityError if the code is in use."""
        self._released: dict[int, queries.ReleasedDevice] = {}
        """Devices whose rows are not cleared yet, by primary key."""
        self._clearing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Fetch the secret for salts of unknown users, and connect. Raise DatabaseError, too."""
        self._secret = await self.write(records.server_secret)
        await self.read_states([])

    async def close(self) -> None:
        """Wait for what is under way, and close each thread's database connection.

        Do not wait for the rows of released devices: a gateway that ends clears all its rows.
        """
        if self._clearing is not None:
            self._clearing.cancel()
            await asyncio.wait([self._clearing])
        for batcher in self._batchers:
            await batcher.close()
        await self._disconnect()
        loop = asyncio.get_running_loop()
        for executor in (self._reads, self._writes, self._pushes):
            await loop.run_in_executor(executor, connections.close_all)
            executor.shutdown()

    def release(self, device: queries.WaitingDevice, farewell: str = "") -> None:
        """Write that a device no longer waits, and why, as soon as the database can be reached.

        Nothing happens when the device has logged in again since.
        """
        self._released[device.device_pk] = queries.ReleasedDevice(device, farewell, clock.now())
        if self._clearing is None or self._clearing.done():
            self._clearing = asyncio.create_task(self._clear())

    async def write(self, job: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run `job` on the thread for writes, perhaps twice, and return its result."""
        work = partial(_run, job.__name__, partial(job, *args, **kwargs))
        return await asyncio.get_running_loop().run_in_executor(self._writes, work)

    async def read_states(
        self, asked: Sequence[tuple[int, str]]
    ) -> list[queries.DeviceState | None]:
        """Return the states of devices, by user and device id; None for an unknown user.

        Raise DatabaseError.
        """
        if not config.current().is_postgresql:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pushes, queries.device_states, asked)
        import psycopg

        async with self._reads_states:
            while True:
                was_open = self._for_states is not None
                try:
                    if self._for_states is None:
                        self._for_states = await database.connect(
                            _GENERIC_PLANS, prepare_threshold=0
                        )
                    cursor = await self._for_states.execute(*queries.ask_states(asked))
                    [row] = await cursor.fetchall()
                    return queries.read_states(row, len(asked))
                except psycopg.Error as exc:
                    await self._disconnect()
                    if not was_open:  # else a restart of PostgreSQL may have broken the connection
                        raise DatabaseError(str(exc)) from exc

    async def _disconnect(self) -> None:
        opened, self._for_states = self._for_states, None
        if opened is not None:
            await opened.close()

    def _batched(
        self, executor: Executor, what: str, work: Callable[[Sequence[_Item]], Sequence[_T]]
    ) -> Callable[[_Item], asyncio.Future[_T]]:
        """Return a function that submits one item; `work` runs on batches of items."""
        batcher: Batcher[_Item, _T] = Batcher(executor, partial(_run_batch, what, work))
        self._batchers.append(batcher)
        return batcher.submit

    def _look_up(self, asked: Sequence[tuple[str, str]]) -> list[records.LoginLookup]:
        return records.look_up(asked, self._secret)

    async def _clear(self) -> None:
        while batch := list(self._released.values())[:MAX_ITEMS]:
            try:
                await self.write(queries.clear_waiting, batch, gateway=self.name)
            except Unavailable:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            for each in batch:
                if self._released.get(each.device.device_pk) is each:
                    del self._released[each.device.device_pk]


def _run_batch(
    what: str, work: Callable[[Sequence[_Item]], Sequence[_T]], items: Sequence[_Item]
) -> Sequence[_T | Exception]:
    """Return the results of `work`; when it fails, try each item alone."""
    try:
        return _run(what, partial(work, items))
    except Unavailable:
        raise
    except Exception as exc:  # noqa: BLE001 - it is raised to the item's caller
        if len(items) == 1:
            return [exc]
    log.warning("%s failed for one of %d clients; each is tried alone", what, len(items))
    return [result for item in items for result in _run_batch(what, work, [item])]


def _run(what: str, job: Callable[[], _T]) -> _T:
    """Run `job`; retry once after a broken connection or a deadlock. Raise Unavailable.

    A restart of the database server may have broken the connection long ago.
    """
    for is_last in (False, True):
        had_connection = connection.connection is not None
        try:
            _connect()
            return job()
        except (DataError, IntegrityError, ProgrammingError):
            raise
        except (DatabaseError, InterfaceError) as exc:
            connection.close()
            metrics.database_errors.labels(what).inc()
            log.warning("%s: the database failed: %s", what, database.one_line(exc))
            if is_last or not had_connection or connection.vendor == "sqlite":
                raise Unavailable from exc
    raise AssertionError


def _connect() -> None:
    if connection.connection is None:
        connection.ensure_connection()
        if connection.vendor == "sqlite":
            with connection.cursor() as cursor:
                # A login is not worth a disk flush; see the top of the module.
                cursor.execute("PRAGMA synchronous=NORMAL")
