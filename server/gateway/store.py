"""All that a gateway reads from and writes to the database, off the event loop.

Reads and writes have a thread each, so that reading never waits for a console's transaction, and
what is written keeps its order. `gone` and the others that only tell how things are may be lost
in a power cut; what the console commits may not, and that is not written here.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Literal, Protocol, TypeVar

from django.contrib.auth.hashers import is_password_usable
from django.db import DatabaseError, connection, transaction
from django.db.models import QuerySet

from agent.core import messages
from agent.core.text import clean
from server import bus, clock
from server.console import audit, passwords
from server.console.hashers import Verifier
from server.console.models import (
    Device,
    PendingChange,
    RetiredPassword,
    ServerSecret,
)
from server.gateway import queries
from server.gateway.login import Candidate, made_up

MAX_CANDIDATES = 64
"""Verifiers that one proof is checked against: the newest of the user's."""
LABEL_LENGTH = 128

_T = TypeVar("_T")


class Unavailable(Exception):
    """The database cannot be asked now. What was to be done is not done."""


PasswordKind = Literal["current", "old"]


@dataclass(frozen=True)
class Known:
    """What is needed to begin a login. `user_id` is None when there is no such user."""

    user_id: int | None
    candidates: tuple[Candidate, ...]
    known_device: bool


@dataclass(frozen=True)
class Standing:
    """What a password that was right is good for. `since` names it among the user's."""

    since: datetime
    password: PasswordKind
    valid_until: datetime | None


@dataclass(frozen=True)
class LoggedIn:
    """A login that was accepted and written down."""

    device_pk: int
    standing: Standing
    pending: tuple[tuple[str, str], ...]
    """Change id and sealed box of what this device has yet to be told."""


Refusal = Literal["credentials", "expired", "disabled", "blocked"]


class Waits(Protocol):
    """A device that waits here."""

    @property
    def device_pk(self) -> int: ...

    @property
    def waiting_since(self) -> datetime: ...


class Store:
    """Await its methods on the loop. `close` ends its threads and their connections."""

    def __init__(self, gateway: str) -> None:
        self._gateway = gateway
        self._reads = ThreadPoolExecutor(1, "gateway-reads", _set_up_connection)
        self._writes = ThreadPoolExecutor(1, "gateway-writes", _set_up_connection)
        self._made_up_secret = b""

    async def open(self) -> None:
        """Fetch the secret behind made-up salts."""
        self._made_up_secret = await self._write(_server_secret)

    async def close(self) -> None:
        """Wait for what is under way, and close the connections in their own threads."""
        loop = asyncio.get_running_loop()
        for executor in (self._reads, self._writes):
            await loop.run_in_executor(executor, _close_connection)
            executor.shutdown()

    async def known(self, username: str, device_id: str) -> Known:
        """The verifiers to check a proof against. An unknown user takes the same steps."""
        return await self._read(partial(_known, username, device_id, self._made_up_secret))

    async def log_in(
        self,
        user_id: int,
        *,
        since: datetime,
        device: messages.Device,
        address: str,
        waiting_since: datetime,
    ) -> LoggedIn | Refusal:
        """Write down that a right proof was given; look again at all that may have changed."""
        return await self._write(
            partial(
                _log_in,
                user_id,
                since=since,
                device=device,
                address=address,
                waiting_since=waiting_since,
                gateway=self._gateway,
            )
        )

    async def gone(self, device_pk: int, waiting_since: datetime) -> None:
        """The connection that has waited since then is gone; a newer one's row stays."""
        await self._write(
            lambda: queries.clear_waiting(
                device_pk,
                waiting_since=waiting_since,
                seen_at=clock.now(),
                gateway=self._gateway,
            )
        )

    async def still_waiting(self, waits: Sequence[Waits]) -> None:
        """Others took this gateway for dead, and cleared the rows of those who wait here."""
        rows = [(each.device_pk, each.waiting_since) for each in waits]
        await self._write(lambda: queries.still_waiting(rows, gateway=self._gateway))

    async def notice(self, device_pk: int, notice: messages.Notice) -> None:
        """What became of a warning on the PC."""
        await self._write(
            lambda: Device.objects.filter(pk=device_pk).update(
                warned=notice.warning, warned_at=clock.now(), warned_days_left=notice.days_left
            )
        )

    async def update_failed(
        self, device_pk: int, failed: messages.UpdateFailed, *, address: str
    ) -> None:
        """The device cannot take a push: it is given up, and recorded."""
        await self._write(partial(_update_failed, device_pk, failed, address=address))

    async def tidy_up(self) -> None:
        """Give up pushes whose old password has ended, forget what ended long ago."""
        await self._write(passwords.tidy_up)

    async def _read(self, job: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._reads, _run, job)

    async def _write(self, job: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._writes, _run, job)


def _set_up_connection() -> None:
    connection.ensure_connection()
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            # Who waits is worth no disk flush per login: see the module's text.
            cursor.execute("PRAGMA synchronous=NORMAL")


def _close_connection() -> None:
    connection.close()


def _run(job: Callable[[], _T]) -> _T:
    try:
        return job()
    except DatabaseError:
        connection.close_if_unusable_or_obsolete()
        raise


def _server_secret() -> bytes:
    secret, _ = ServerSecret.objects.get_or_create(
        name="made-up-salt", defaults={"value": secrets.token_bytes(32)}
    )
    return bytes(secret.value)


def _known(username: str, device_id: str, secret: bytes) -> Known:
    user = queries.find_user(username, device_id)
    old_rows = queries.old_passwords(user.pk if user else 0, limit=MAX_CANDIDATES)
    if user is None or not is_password_usable(user.password):
        nothing = Candidate(made_up(username, secret), since=clock.now())
        return Known(None, (nothing,), known_device=False)
    current = Candidate(Verifier.parse(user.password), since=user.password_changed_at)
    old = [Candidate(Verifier.parse(row[0]), *row[1:]) for row in old_rows]
    candidates = [
        current,
        # Verifiers with another salt were made before the rounds were raised: long expired.
        *(each for each in old if each.verifier.shares_salt(current.verifier)),
    ]
    return Known(user.pk, tuple(candidates), user.knows_device)


def _log_in(
    user_id: int,
    *,
    since: datetime,
    device: messages.Device,
    address: str,
    waiting_since: datetime,
    gateway: str,
) -> LoggedIn | Refusal:
    with transaction.atomic():
        user = queries.lock_user(user_id, device.id)
        if user is None:
            return "credentials"
        standing = _standings(user_id, user.password_changed_at, of=since).get(since)
        if standing is None:
            return "expired"
        if not user.is_active:
            return "disabled"
        if user.is_blocked:
            return "blocked"
        name = clean(device.name, LABEL_LENGTH)
        device_pk = user.device_pk or _new_device(user_id, device, name, address)
        queries.set_waiting(
            device_pk,
            labels=(name, clean(device.os, LABEL_LENGTH), clean(device.version, LABEL_LENGTH)),
            address=address,
            seen_at=clock.now(),
            waiting_since=waiting_since,
            gateway=gateway,
            login_password=standing.password,
            login_valid_until=standing.valid_until,
        )
        if user.gateway not in {"", gateway}:
            bus.publish(user_id)  # where it waited until now, its connection has to end
        pending: tuple[tuple[str, str], ...] = ()
        if user.has_pending and standing.password == "current":
            _mark_applied(device_pk, address)
        elif user.has_pending:
            deliveries = PendingChange.objects.filter(device_id=device_pk)
            pending = _pending(deliveries).get(device_pk, ())
        return LoggedIn(device_pk, standing, pending)


def _new_device(user_id: int, device: messages.Device, name: str, address: str) -> int:
    row = Device.objects.create(
        user_id=user_id, device_id=device.id, public_key=device.public_key, name=name
    )
    audit.record(
        audit.Action.DEVICE_ADDED, actor=None, subject=row.user, address=address, device=name
    )
    return row.pk


def _mark_applied(device_pk: int, address: str) -> None:
    """The device has proven that it has the current password: the push got there."""
    for delivery in PendingChange.objects.select_related("device__user__account").filter(
        device_id=device_pk, outcome=PendingChange.Outcome.PENDING
    ):
        delivery.outcome = PendingChange.Outcome.APPLIED
        delivery.outcome_at = clock.now()
        delivery.sealed = delivery.failure = ""
        delivery.save()
        audit.record(
            audit.Action.PUSH_APPLIED,
            actor=None,
            subject=delivery.device.user,
            address=address,
            device=delivery.device.name,
            change=delivery.change_id,
        )


def _update_failed(device_pk: int, failed: messages.UpdateFailed, *, address: str) -> None:
    with transaction.atomic():
        delivery = (
            PendingChange.objects.select_for_update(of=("self",))
            .select_related("device__user")
            .filter(
                device_id=device_pk,
                change_id=failed.change_id,
                outcome=PendingChange.Outcome.PENDING,
            )
            .first()
        )
        if delivery is None or delivery.failure == failed.reason:
            return
        delivery.failure = failed.reason
        if failed.reason != "vault":  # a keyring that is locked now may be open at the next login
            delivery.outcome = PendingChange.Outcome.FAILED
            delivery.outcome_at = clock.now()
            delivery.sealed = ""
        delivery.save()
        audit.record(
            audit.Action.PUSH_FAILED,
            actor=None,
            subject=delivery.device.user,
            address=address,
            device=delivery.device.name,
            change=failed.change_id,
            reason=failed.reason,
        )


def _standings(
    user_id: int, current_since: datetime, *, of: datetime | None = None
) -> dict[datetime, Standing]:
    """By `since`: the passwords that work; the old ones are left out if only the current is asked
    `of`."""
    standings = {current_since: Standing(current_since, "current", None)}
    if of != current_since:
        valid = RetiredPassword.objects.filter(user_id=user_id, valid_until__gt=clock.now())
        for old in valid.exclude(since=current_since):
            standings[old.since] = Standing(old.since, "old", old.valid_until)
    return standings


def _pending(deliveries: QuerySet[PendingChange]) -> dict[int, tuple[tuple[str, str], ...]]:
    """By device: change id and sealed box of what is still on its way, the oldest first."""
    rows = deliveries.filter(outcome=PendingChange.Outcome.PENDING)
    found: dict[int, tuple[tuple[str, str], ...]] = {}
    for row in rows.order_by("change__changed_at"):
        found[row.device_id] = (*found.get(row.device_id, ()), (row.change_id, row.sealed))
    return found
