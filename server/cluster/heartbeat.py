"""A node's place among others on the same database: a gateway is alive as long as it says so.

Each gateway keeps a row and touches it every few seconds. Nobody waits on a gateway whose row has
not been touched for `DEAD_AFTER`; some other gateway then removes it. One that was taken for dead
(its machine slept, its network was away) makes a new row and has its clients looked at again.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from types import TracebackType
from typing import Self, TypeVar

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from server import metrics
from server.console.models import DEAD_AFTER, Device, Gateway, ServerSecret

log = logging.getLogger(__name__)

_T = TypeVar("_T")

BEAT_SECONDS = 10.0
RETRY_SECONDS = 1.0
CHUNK = 1_000
"""Rows that are locked at once, so that logins do not wait long for them."""
READY_SECONDS = 25.0
"""How long after the last beat that succeeded the gateway is still ready for clients."""


def default_name(port: int) -> str:
    """Of this machine's gateway on `port`; with a random part when the port is not known yet."""
    return f"{socket.gethostname()[:48]}:{port or secrets.token_hex(4)}"


def compare_secret_key() -> None:
    """Warn when the console that was started before on this database has another secret key."""
    mine = hashlib.sha256(b"coconowork.secret-key" + settings.SECRET_KEY.encode()).digest()
    row, _ = ServerSecret.objects.get_or_create(name="secret-key-digest", defaults={"value": mine})
    if bytes(row.value) != mine:
        log.warning(
            "the console that was started before has another secret key: unless it was changed, "
            "give all consoles the same file (secret_key_file), or people are logged out"
        )
        ServerSecret.objects.filter(pk=row.pk).update(value=mine)


class Membership:
    """`async with Membership(name, on_evicted=…)`: the gateway `name` is alive, for all to see."""

    def __init__(self, name: str, *, on_evicted: Callable[[], object]) -> None:
        """`on_evicted` is called, on the loop, when others took it for dead.

        Then its clients' rows say that they do not wait.
        """
        self._name = name
        self._on_evicted = on_evicted
        self._incarnation = secrets.token_hex(16)
        self._thread = ThreadPoolExecutor(1, "gateway-heartbeat")
        self._task: asyncio.Task[None]
        self._beaten_at = self._steady_since = monotonic()

    async def __aenter__(self) -> Self:
        try:
            await self._run(self._join)
        except BaseException:
            self._thread.shutdown()
            raise
        self._beaten_at = self._steady_since = monotonic()
        self._task = asyncio.create_task(self._beat_for_ever())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nobody waits on it any more."""
        self._task.cancel()
        await asyncio.wait([self._task])
        try:
            await self._run(self._leave)
        except DatabaseError as exc:
            log.warning("others have to find out that this gateway has ended: %s", _line(exc))
        self._thread.shutdown()

    @property
    def is_ready(self) -> bool:
        """Whether the database has been reached lately."""
        return monotonic() - self._beaten_at < READY_SECONDS

    async def beat(self) -> None:
        """Say that it is alive, and remove those that are not. Raise DatabaseError."""
        now = monotonic()
        # After an outage of the database everybody is late, and only because of that.
        steady = now - self._steady_since > DEAD_AFTER.total_seconds()
        evicted = await self._run(self._touch)
        self._beaten_at = monotonic()
        if evicted:
            log.warning("this gateway was taken for dead; its clients are looked at again")
            self._on_evicted()
        if steady:
            await self._run(_remove_dead)

    async def _beat_for_ever(self) -> None:
        pause = BEAT_SECONDS
        while True:
            await asyncio.sleep(pause)
            try:
                await self.beat()
            except DatabaseError as exc:
                metrics.database_errors.labels("heartbeat").inc()
                if pause == BEAT_SECONDS:
                    log.warning("the database does not answer: %s", _line(exc))
                pause = RETRY_SECONDS
            else:
                pause = BEAT_SECONDS
            if pause == RETRY_SECONDS or monotonic() - self._beaten_at > BEAT_SECONDS:
                self._steady_since = monotonic()

    async def _run(self, work: Callable[[], _T]) -> _T:
        def closing() -> _T:
            try:
                return work()
            finally:
                connection.close()

        return await asyncio.get_running_loop().run_in_executor(self._thread, closing)

    def _join(self) -> None:
        """A row of its own, and nobody waits yet: not under this name, nor where no gateway is."""
        _forget(Device.objects.filter(gateway=self._name))
        now = {"started_at": Now(), "seen_at": Now()}
        Gateway.objects.update_or_create(
            name=self._name, defaults={"incarnation": self._incarnation, **now}
        )
        _forget(Device.objects.exclude(gateway__in=Gateway.objects.values("name")))

    def _touch(self) -> bool:
        """Whether the row was gone, and had to be made anew."""
        mine = Gateway.objects.filter(name=self._name, incarnation=self._incarnation)
        if mine.update(seen_at=Now()):
            return False
        row, made = Gateway.objects.get_or_create(
            name=self._name,
            defaults={"incarnation": self._incarnation, "started_at": Now(), "seen_at": Now()},
        )
        if not made:
            log.error(
                "another gateway is called %s as well: give each a gateway_name of its own",
                self._name,
            )
            Gateway.objects.filter(pk=row.pk).update(seen_at=Now())
        return made

    def _leave(self) -> None:
        Gateway.objects.filter(name=self._name, incarnation=self._incarnation).delete()
        _forget(Device.objects.filter(gateway=self._name))


def _remove_dead() -> None:
    """Forget gateways that have died, and that somebody waits on them."""
    for name in Gateway.objects.filter(seen_at__lte=Now() - DEAD_AFTER).values_list(
        "name", flat=True
    ):
        gone, _ = Gateway.objects.filter(name=name, seen_at__lte=Now() - DEAD_AFTER).delete()
        if gone:
            count = _forget(Device.objects.filter(gateway=name))
            log.warning("gateway %s has died; %d clients waited there", name, count)


def _forget(devices: QuerySet[Device]) -> int:
    """Nobody waits on these any more; how many that was.

    A row that somebody else has locked is left: a client is just logging in there anew. It would
    not count anyway, since its gateway has no row.
    """
    devices = devices.filter(waiting_since__isnull=False)
    found = list(devices.order_by("pk").values_list("pk", flat=True))
    count = 0
    for start in range(0, len(found), CHUNK):
        with transaction.atomic():
            some = devices.filter(pk__in=found[start : start + CHUNK])
            locked = list(some.select_for_update(skip_locked=True).values_list("pk", flat=True))
            count += Device.objects.filter(pk__in=locked).update(waiting_since=None, gateway="")
    return count


def _line(exc: Exception) -> str:
    return " ".join(str(exc).split())
