"""Reach the database from a gateway: off the event loop, for many clients at once.

Reads and writes have a thread each, so that a read never waits for a transaction of the console.
What is written here (which devices wait, what was shown) may be lost in a power cut; passwords may
not, and the console writes those.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    ProgrammingError,
    connection,
    connections,
)

from server import clock, metrics
from server.cluster.database import one_line
from server.console.models import Pairing
from server.gateway import queries, records
from server.gateway.batcher import MAX_ITEMS, Batcher, Unavailable

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""After which a disconnect that could not be written is tried again."""

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Item = TypeVar("_Item")


class Store:
    """Await its methods on the loop; they raise Unavailable."""

    def __init__(self, gateway: str) -> None:
        self._gateway = gateway
        self._secret = b""
        self._reads = ThreadPoolExecutor(1, "gateway-reads")
        self._writes = ThreadPoolExecutor(1, "gateway-writes")
        self._lookups: Batcher[tuple[str, str], records.LoginLookup] = Batcher(
            self._reads,
            partial(_run_batch, "look_up", lambda asked: records.look_up(asked, self._secret)),
        )
        self._logins: Batcher[records.VerifiedProof, records.RecordedLogin | records.Refusal] = (
            Batcher(
                self._writes,
                partial(_run_batch, "log_in", partial(records.log_in, gateway=gateway)),
            )
        )
        self._new_pairings: Batcher[Pairing, Pairing] = Batcher(
            self._writes, partial(_run_batch, "open_pairings", records.open_pairings)
        )
        self._released: dict[int, queries.ReleasedDevice] = {}
        """Rows that have yet to be cleared, by the device's primary key."""
        self._clearing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Fetch the secret behind made-up salts."""
        self._secret = await self.write(records.server_secret)

    async def close(self) -> None:
        """Wait for what is under way, and close each thread's database connection.

        Rows of released devices are not waited for: all rows of a gateway that ends are cleared.
        """
        if self._clearing is not None:
            self._clearing.cancel()
            await asyncio.wait([self._clearing])
        await self._lookups.close()
        await self._logins.close()
        await self._new_pairings.close()
        loop = asyncio.get_running_loop()
        for executor in (self._reads, self._writes):
            await loop.run_in_executor(executor, connections.close_all)
            executor.shutdown()

    def look_up(self, username: str, device_id: str) -> asyncio.Future[records.LoginLookup]:
        """Return what a login needs to begin. An unknown user takes the same steps."""
        return self._lookups.submit((username, device_id))

    def log_in(
        self, proof: records.VerifiedProof
    ) -> asyncio.Future[records.RecordedLogin | records.Refusal]:
        """Write the login of a right proof; check again what may have changed."""
        return self._logins.submit(proof)

    def open_pairing(self, new: Pairing) -> asyncio.Future[Pairing]:
        """Write that a new PC shows a code."""
        new.gateway = self._gateway
        return self._new_pairings.submit(new)

    def release(self, device: queries.WaitingDevice, farewell: str = "") -> None:
        """Write that a device no longer waits, and why, as soon as the database can be reached.

        Nothing happens when the device has logged in again since.
        """
        self._released[device.device_pk] = queries.ReleasedDevice(device, farewell, clock.now())
        if self._clearing is None or self._clearing.done():
            self._clearing = asyncio.create_task(self._clear())

    async def write(self, job: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return what `job` returns on the thread for writes; it may be called twice."""
        work = partial(_run, job.__name__, partial(job, *args, **kwargs))
        return await asyncio.get_running_loop().run_in_executor(self._writes, work)

    async def _clear(self) -> None:
        while batch := list(self._released.values())[:MAX_ITEMS]:
            try:
                await self.write(queries.clear_waiting, batch, gateway=self._gateway)
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
    """Run `job`, twice if the connection was broken or a deadlock ended it. Raise Unavailable.

    A restart of the database server may have broken the connection long ago, or the database has
    ended this transaction to resolve a deadlock.
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
            log.warning("%s: the database failed: %s", what, one_line(exc))
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
