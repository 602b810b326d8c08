"""The database as a gateway uses it: off the event loop, for many clients at once, and sometimes
away.

Reads and writes have a thread each, so that reading never waits for a console's transaction. What
tells only how things are (who waits, what was shown) may be lost in a power cut; what the console
commits may not, and that is not written here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Protocol, TypeVar

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
from server.gateway.batches import MAX_ITEMS, Batches
from server.gateway.records import Known, LoggedIn, Refusal, RightProof

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""After which what must not be forgotten is tried again."""

_T = TypeVar("_T")
_Item = TypeVar("_Item")


class Unavailable(Exception):
    """The database cannot be asked now. What was to be done is not done."""


class Waits(Protocol):
    """A device that waits here."""

    @property
    def device_pk(self) -> int: ...

    @property
    def waiting_since(self) -> datetime: ...


class Store:
    """Await its methods on the loop; they raise Unavailable. `close` ends its threads and their
    connections."""

    def __init__(self, gateway: str) -> None:
        self._gateway = gateway
        self._reads = ThreadPoolExecutor(1, "gateway-reads")
        self._writes = ThreadPoolExecutor(1, "gateway-writes")
        self._known: Batches[tuple[str, str], Known] = Batches(
            self._reads, partial(_each, "known", self._look_up)
        )
        self._log_ins: Batches[RightProof, LoggedIn | Refusal] = Batches(
            self._writes, partial(_each, "log_in", self._write_down)
        )
        self._made_up_secret = b""
        self._gone: dict[int, datetime] = {}
        """Since when they had waited, by device: rows that have yet to be cleared."""
        self._clearing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Fetch the secret behind made-up salts."""
        self._made_up_secret = await self._write("open", records.server_secret)

    async def close(self) -> None:
        """Wait for what is under way, and close the connections in their own threads.

        Rows of those who are gone are not waited for: all rows of a gateway that ends are cleared.
        """
        if self._clearing is not None:
            self._clearing.cancel()
            await asyncio.wait([self._clearing])
        loop = asyncio.get_running_loop()
        for executor in (self._reads, self._writes):
            await loop.run_in_executor(executor, _close_connection)
            executor.shutdown()

    def known(self, username: str, device_id: str) -> asyncio.Future[Known]:
        """The verifiers to check a proof against. An unknown user takes the same steps."""
        return self._known.do((username, device_id))

    def log_in(
        self,
        user_id: int,
        *,
        since: datetime,
        device: messages.Device,
        address: str,
        waiting_since: datetime,
    ) -> asyncio.Future[LoggedIn | Refusal]:
        """Write down that a right proof was given; look again at all that may have changed."""
        return self._log_ins.do(RightProof(user_id, since, device, address, waiting_since))

    def gone(self, device_pk: int, waiting_since: datetime) -> None:
        """The connection that has waited since then is gone; a newer one's row stays.

        It is written down as soon as the database can be reached.
        """
        self._gone[device_pk] = waiting_since
        if self._clearing is None or self._clearing.done():
            self._clearing = asyncio.create_task(self._clear())

    async def still_waiting(self, waits: Sequence[Waits]) -> None:
        """Others took this gateway for dead, and cleared the rows of those who wait here."""
        rows = [(each.device_pk, each.waiting_since) for each in waits]
        await self._write(
            "still_waiting", partial(queries.still_waiting, rows, gateway=self._gateway)
        )

    async def notice(self, device_pk: int, notice: messages.Notice) -> None:
        """What became of a warning on the PC."""
        await self._write("notice", partial(records.notice, device_pk, notice))

    async def update_failed(
        self, device_pk: int, failed: messages.UpdateFailed, *, address: str
    ) -> None:
        """The device cannot take a push: it is given up, and recorded."""
        await self._write(
            "update_failed", partial(records.update_failed, device_pk, failed, address=address)
        )

    async def tidy_up(self) -> None:
        """Give up pushes whose old password has ended, forget what ended long ago."""
        await self._write("tidy_up", passwords.tidy_up)

    async def _clear(self) -> None:
        while self._gone:
            batch = dict(list(self._gone.items())[:MAX_ITEMS])
            try:
                busy = await self._write("gone", partial(self._write_gone, list(batch.items())))
            except Unavailable:
                busy = list(batch)
            for device_pk, since in batch.items():
                if device_pk not in busy and self._gone.get(device_pk) == since:
                    del self._gone[device_pk]
            if busy:
                await asyncio.sleep(RETRY_SECONDS)

    async def _write(self, what: str, job: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._writes, _run, what, job)

    def _look_up(self, asked: Sequence[tuple[str, str]]) -> list[Known]:
        return records.known(asked, self._made_up_secret)

    def _write_down(self, proofs: Sequence[RightProof]) -> list[LoggedIn | Refusal]:
        return records.log_in(proofs, gateway=self._gateway)

    def _write_gone(self, gone: Sequence[tuple[int, datetime]]) -> list[int]:
        return queries.clear_waiting(gone, seen_at=clock.now(), gateway=self._gateway)


def _each(
    what: str, work: Callable[[Sequence[_Item]], Sequence[_T]], items: Sequence[_Item]
) -> Sequence[_T | Exception]:
    """`work`'s results; when it fails, each item's own."""
    try:
        return _run(what, partial(work, items))
    except Unavailable:
        raise
    except Exception as exc:  # noqa: BLE001 - it is answered to whom it concerns
        if len(items) == 1:
            return [exc]
    log.warning("%s failed for one of %d; each is tried alone", what, len(items))
    return [result for item in items for result in _each(what, work, [item])]


def _run(what: str, job: Callable[[], _T]) -> _T:
    """Raise Unavailable when the database cannot be asked."""
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
    # The connection may have been broken for long, by a restart of the server; or two waited for
    # each other, and it was we who had to yield.
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
            # Who waits is worth no disk flush per login: see the module's text.
            cursor.execute("PRAGMA synchronous=NORMAL")


def _close_connection() -> None:
    connection.close()


def _line(exc: Exception) -> str:
    return " ".join(str(exc).split())
