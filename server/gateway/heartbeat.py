"""Keep the heartbeat of a gateway in the database, and remove gateways whose heartbeat stopped.

Each gateway has a row and writes the time into it every `BEAT_SECONDS`. When a row has not been
written for `DEAD_AFTER`, its gateway is dead: its clients do not count as waiting, and another
gateway removes the row and the codes of new PCs there. A gateway that was removed by mistake (its
machine slept, its network was down) makes a new row and checks all of its clients again.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable
from time import monotonic

from django.db import DatabaseError, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from server import metrics
from server.cluster.database import on_thread, one_line
from server.console.models import DEAD_AFTER, Device, Gateway, Pairing

log = logging.getLogger(__name__)

BEAT_SECONDS = 10.0
RETRY_SECONDS = 1.0
CHUNK = 1_000
"""Most rows that one transaction locks, so that logins do not wait long for them."""
READY_SECONDS = 25.0
"""Age of the last heartbeat at which the gateway stops being ready (`/readyz`)."""


def default_name(port: int) -> str:
    """Return the name of this machine's gateway on `port`, with a random part if `port` is 0."""
    return f"{socket.gethostname()[:48]}:{port or secrets.token_hex(4)}"


class GatewayHeartbeat:
    """Keep the heartbeat of the gateway `name`: `join`, run `keep_beating` as a task, `leave`."""

    def __init__(self, name: str, *, on_evicted: Callable[[], object]) -> None:
        """Store `on_evicted`, to call on the loop after other gateways have removed the row.

        The other gateways have then marked this gateway's clients as not waiting.
        """
        self._name = name
        self._on_evicted = on_evicted
        self._incarnation = secrets.token_hex(16)
        self._beaten_at = self._steady_since = monotonic()

    async def join(self) -> None:
        """Make the row. Mark clients of this name and of missing gateways as not waiting."""
        await on_thread(self._join)
        self._beaten_at = self._steady_since = monotonic()

    async def leave(self) -> None:
        """Remove the row, and mark this gateway's clients as not waiting."""
        try:
            await on_thread(self._leave)
        except DatabaseError as exc:
            seconds, why = DEAD_AFTER.seconds, one_line(exc)
            log.warning("heartbeat not removed, other gateways do it after %d s: %s", seconds, why)

    @property
    def is_recent(self) -> bool:
        """Return whether the last heartbeat was written less than `READY_SECONDS` ago."""
        return monotonic() - self._beaten_at < READY_SECONDS

    async def beat(self) -> None:
        """Write the heartbeat and remove dead gateways. Raise DatabaseError."""
        now = monotonic()
        # After an outage of the database every heartbeat is late: remove no gateway for a while.
        steady = now - self._steady_since > DEAD_AFTER.total_seconds()
        evicted = await on_thread(self._touch)
        self._beaten_at = monotonic()
        if evicted:
            log.warning(
                "heartbeat came too late, others removed this gateway; checking all of its clients"
            )
            self._on_evicted()
        if steady:
            await on_thread(_remove_dead)

    async def keep_beating(self) -> None:
        pause = BEAT_SECONDS
        while True:
            await asyncio.sleep(pause)
            try:
                await self.beat()
            except DatabaseError as exc:
                metrics.database_errors.labels("heartbeat").inc()
                if pause == BEAT_SECONDS:
                    log.warning("heartbeat failed, the database does not answer: %s", one_line(exc))
                pause, self._steady_since = RETRY_SECONDS, monotonic()
            else:
                pause = BEAT_SECONDS

    @property
    def _new_row(self) -> dict[str, object]:
        return {"incarnation": self._incarnation, "started_at": Now(), "seen_at": Now()}

    def _join(self) -> None:
        _forget_clients(self._name)
        Gateway.objects.update_or_create(name=self._name, defaults=self._new_row)
        _mark_not_waiting(Device.objects.exclude(gateway__in=Gateway.objects.values("name")))

    def _touch(self) -> bool:
        """Write the time. Return whether the row was gone and a new one was made."""
        mine = Gateway.objects.filter(name=self._name, incarnation=self._incarnation)
        if mine.update(seen_at=Now()):
            return False
        row, made = Gateway.objects.get_or_create(name=self._name, defaults=self._new_row)
        if not made:
            said = "another gateway has the name %s as well: give each its own gateway_name"
            log.error(said, self._name)
            Gateway.objects.filter(pk=row.pk).update(seen_at=Now())
        return made

    def _leave(self) -> None:
        Gateway.objects.filter(name=self._name, incarnation=self._incarnation).delete()
        _forget_clients(self._name)


def _remove_dead() -> None:
    """Remove the rows of dead gateways, and mark their clients as not waiting."""
    dead = Gateway.objects.filter(seen_at__lte=Now() - DEAD_AFTER)
    for name in dead.values_list("name", flat=True):
        if dead.filter(name=name).delete()[0]:
            count = _forget_clients(name)
            log.warning(
                "heartbeat of gateway %s stopped, removed it; %d clients waited there", name, count
            )


def _forget_clients(gateway: str) -> int:
    """Mark this gateway's clients as not waiting, and delete the codes of new PCs there.

    Return how many waited. A code whose password was delivered stays, for the result page.
    """
    Pairing.objects.filter(gateway=gateway, delivered_at=None).delete()
    return _mark_not_waiting(Device.objects.filter(gateway=gateway))


def _mark_not_waiting(devices: QuerySet[Device]) -> int:
    """Mark these devices as not waiting, and return how many were waiting.

    A locked row is skipped: its client is logging in at this moment. Even if it keeps the old
    values, the device does not count as waiting, because its gateway has no row.
    """
    devices = devices.filter(waiting_since__isnull=False)
    found = list(devices.order_by("pk").values_list("pk", flat=True))
    count = 0
    for start in range(0, len(found), CHUNK):
        with transaction.atomic():
            some = devices.filter(pk__in=found[start : start + CHUNK])
            locked = list(
                some.select_for_update(skip_locked=True, no_key=True).values_list("pk", flat=True)
            )
            count += Device.objects.filter(pk__in=locked).update(waiting_since=None, gateway="")
    return count
