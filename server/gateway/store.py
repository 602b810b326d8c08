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
from datetime import datetime
from functools import partial
from typing import TypeVar

from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    ProgrammingError,
    connection,
)

from protocol import messages
from server import clock, metrics
from server.console import passwords
from server.gateway import queries, records
from server.gateway.batcher import MAX_ITEMS, Batcher, QueueFull
from server.gateway.records import LoginLookup, RecordedLogin, Refusal, VerifiedProof

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""After which a disconnect that could not be written is tried again."""

_T = TypeVar("_T")
_Item = TypeVar("_Item")


class Unavailable(Exception):
    """The database is away or overloaded. Nothing was done."""


class Store:
    """Await its methods on the loop; they raise Unavailable."""

    def __init__(self, gateway: str) -> None:
        self._gateway = gateway
        self._reads = ThreadPoolExecutor(1, "gateway-reads")
        self._writes = ThreadPoolExecutor(1, "gateway-writes")
        self._lookups: Batcher[tuple[str, str], LoginLookup] = Batcher(
            self._reads, partial(_run_batch, "look_up", self._look_up)
        )
        self._logins: Batcher[VerifiedProof, RecordedLogin | Refusal] = Batcher(
            self._writes, partial(_run_batch, "log_in", self._log_in)
        )
        self._made_up_secret = b""
        self._released: dict[int, datetime] = {}
        """Rows that have yet to be cleared: `waiting_since` by device."""
        self._clearing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Fetch the secret behind made-up salts."""
        self._made_up_secret = await self._write("open", records.server_secret)

    async def close(self) -> None:
        """Wait for what is under way, and close each thread's database connection.

        Rows of released devices are not waited for: all rows of a gateway that ends are cleared.
        """
        if self._clearing is not None:
            self._clearing.cancel()
            await asyncio.wait([self._clearing])
        loop = asyncio.get_running_loop()
        for executor in (self._reads, self._writes):
            await loop.run_in_executor(executor, _close_connection)
            executor.shutdown()

    def look_up(self, username: str, device_id: str) -> asyncio.Future[LoginLookup]:
        """Return what a login needs to begin. An unknown user takes the same steps."""
        return _submit(self._lookups, (username, device_id))

    def log_in(self, proof: VerifiedProof) -> asyncio.Future[RecordedLogin | Refusal]:
        """Write the login of a right proof; check again what may have changed."""
        return _submit(self._logins, proof)

    def release(self, device_pk: int, waiting_since: datetime) -> None:
        """Write that a device no longer waits, as soon as the database can be reached.

        Nothing happens when the device has logged in again since.
        """
        self._released[device_pk] = waiting_since
        if self._clearing is None or self._clearing.done():
            self._clearing = asyncio.create_task(self._clear())

    async def restore_waiting(self, devices: Sequence[tuple[int, datetime]]) -> None:
        """Write again that devices wait here, after another gateway has cleared their rows."""
        await self._write(
            "restore_waiting", partial(queries.restore_waiting, devices, gateway=self._gateway)
        )

    async def notice(self, device_pk: int, notice: messages.Notice) -> None:
        """Record the outcome of a warning on the PC."""
        await self._write("notice", partial(records.notice, device_pk, notice))

    async def update_failed(
        self, device_pk: int, failed: messages.UpdateFailed, *, address: str
    ) -> None:
        """Record that a device cannot take a push."""
        await self._write(
            "update_failed", partial(records.update_failed, device_pk, failed, address=address)
        )

    async def tidy_up(self) -> None:
        """Give up pushes whose old password has ended, and forget what ended long ago."""
        await self._write("tidy_up", passwords.tidy_up)

    async def _clear(self) -> None:
        while self._released:
            batch = dict(list(self._released.items())[:MAX_ITEMS])
            try:
                busy = await self._write("release", partial(self._release, list(batch.items())))
            except Unavailable:
                busy = list(batch)
            for device_pk, since in batch.items():
                if device_pk not in busy and self._released.get(device_pk) == since:
                    del self._released[device_pk]
            if busy:
                await asyncio.sleep(RETRY_SECONDS)

    async def _write(self, what: str, job: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._writes, _run, what, job)

    def _look_up(self, asked: Sequence[tuple[str, str]]) -> list[LoginLookup]:
        return records.look_up(asked, self._made_up_secret)

    def _log_in(self, proofs: Sequence[VerifiedProof]) -> list[RecordedLogin | Refusal]:
        return records.log_in(proofs, gateway=self._gateway)

    def _release(self, released: Sequence[tuple[int, datetime]]) -> list[int]:
        return queries.clear_waiting(released, seen_at=clock.now(), gateway=self._gateway)


def _submit(batcher: Batcher[_Item, _T], item: _Item) -> asyncio.Future[_T]:
    try:
        return batcher.submit(item)
    except QueueFull:
        raise Unavailable from None


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
    """Run `job`, twice if the connection was broken or a deadlock ended it. Raise Unavailable."""
    had_connection = connection.connection is not None
    try:
        return _try(job)
    except (DatabaseError, InterfaceError) as exc:
        if isinstance(exc, (DataError, IntegrityError, ProgrammingError)):
            raise
        metrics.database_errors.labels(what).inc()
        log.warning("%s: the database failed: %s", what, _line(exc))
        if not had_connection or connection.vendor == "sqlite":
            raise Unavailable from exc
    # A restart of the database server may have broken the connection long ago, or the database has
    # ended this transaction to resolve a deadlock.
    try:
        return _try(job)
    except (DatabaseError, InterfaceError) as exc:
        metrics.database_errors.labels(what).inc()
        raise Unavailable from exc


def _try(job: Callable[[], _T]) -> _T:
    try:
        if connection.connection is None:
            _set_up_connection()
        return job()
    except (DatabaseError, InterfaceError):
        connection.close()
        raise


def _set_up_connection() -> None:
    connection.ensure_connection()
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            # A login is not worth a disk flush; see the top of the module.
            cursor.execute("PRAGMA synchronous=NORMAL")


def _close_connection() -> None:
    connection.close()


def _line(exc: Exception) -> str:
    return " ".join(str(exc).split())
