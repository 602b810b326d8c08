"""What a gateway reads and writes for its clients; runs on the store's threads.

Functions for many clients return for each what it would have got alone. All of them are idempotent:
they may be repeated after they were interrupted.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Literal

import msgspec
from django.contrib.auth.hashers import is_password_usable
from django.db import transaction
from django.db.models import QuerySet

from protocol import messages
from protocol.scram import Verifier
from protocol.text import clean
from server import clock, metrics
from server.cluster import bus
from server.console import audit, hashers
from server.console.hashers import parse_verifier
from server.console.models import Device, PushDelivery, ServerSecret, temporary_until
from server.gateway import queries
from server.gateway.queries import FoundUser, LockedUser, WaitingRow

LABEL_LENGTH = 128
MAX_NEW_DEVICES, NEW_DEVICES_WITHIN = 100, timedelta(days=1)
"""New devices of one user. Clients make them, and each is a row and a line of the audit trail."""

Refusal = Literal["credentials", "expired", "disabled", "blocked", "throttled"]


class LoginLookup(msgspec.Struct, frozen=True, gc=False):
    """What a login needs to begin. `user_id` is None when there is no such user."""

    user_id: int | None
    candidates: tuple[tuple[datetime, Verifier], ...]
    """The verifiers that a proof may fit. The time names each among the user's."""
    known_device: bool
    """Whether the user has logged in on this device before."""


class VerifiedProof(msgspec.Struct, frozen=True, gc=False):
    """A right proof, made with the password that `since` names."""

    user_id: int
    since: datetime
    device: messages.Device
    address: str
    waiting_since: datetime


class AcceptedLogin(msgspec.Struct, frozen=True, gc=False):
    """The password that a login was accepted with. `since` tells it from the user's others."""

    since: datetime
    password: messages.PasswordKind
    ends_at: datetime | None
    """The end of an old password, or of a current one that is temporary."""

    @property
    def valid_until(self) -> datetime | None:
        """Return what the client is told: the end of an old password."""
        return self.ends_at if self.password == "old" else None


class WaitingDevice(msgspec.Struct, frozen=True, gc=False):
    """The device that waits on a connection, and since when."""

    user_id: int
    device_id: str
    device_pk: int
    waiting_since: datetime


class PendingPush(msgspec.Struct, frozen=True, gc=False):
    """A changed password on its way to a device."""

    change_id: str
    sealed: str
    changed_at: datetime


class RecordedLogin(msgspec.Struct, frozen=True, gc=False):
    """A login that was accepted and written."""

    device_pk: int
    accepted: AcceptedLogin
    pending: tuple[PendingPush, ...]
    """The pushes that are still on their way to this device, the oldest first."""


def server_secret() -> bytes:
    """Return the secret behind made-up salts; make it at the first call."""
    secret, _ = ServerSecret.objects.get_or_create(
        name="made-up-salt", defaults={"value": secrets.token_bytes(32)}
    )
    return bytes(secret.value)


def look_up(asked: Sequence[tuple[str, str]], secret: bytes) -> list[LoginLookup]:
    """Return what logins need, by user name and device id."""
    found = {row.number: row for row in queries.find_users(asked)}
    return [
        _lookup(username, found.get(number), secret) for number, (username, _) in enumerate(asked)
    ]


def _lookup(username: str, user: FoundUser | None, secret: bytes) -> LoginLookup:
    if user is None or not is_password_usable(user.password):
        return LoginLookup(None, ((clock.now(), made_up(username, secret)),), known_device=False)
    current = parse_verifier(user.password)
    candidates = [(user.password_changed_at, current)]
    if _has_ended(user, clock.now()):
        candidates = [(user.password_changed_at, _unmatched(current.iterations, current.salt))]
    for old in user.old or ():
        verifier = parse_verifier(old.verifier)
        # Verifiers with another salt were made before the rounds were raised: long expired.
        if verifier.shares_salt(current):
            candidates.append((old.since, verifier))
    return LoginLookup(user.pk, tuple(candidates), known_device=bool(user.knows_device))


def made_up(username: str, secret: bytes) -> Verifier:
    """Return a verifier that no proof fits. Its salt is always the same for a `username`."""
    salt = hmac.digest(secret, username.encode(), "sha256")[: hashers.SALT_BYTES]
    return _unmatched(hashers.ITERATIONS, salt)


def _unmatched(iterations: int, salt: bytes) -> Verifier:
    return Verifier(iterations, salt, secrets.token_bytes(32), secrets.token_bytes(32))


def _has_ended(user: FoundUser | LockedUser, now: datetime) -> bool:
    """Return whether the user's current password is a temporary one past its end."""
    return bool(user.is_temporary) and temporary_until(user.password_changed_at) <= now


def log_in(proofs: Sequence[VerifiedProof], *, gateway: str) -> list[RecordedLogin | Refusal]:
    """Write the logins of right proofs; check again what may have changed since the lookup."""
    with transaction.atomic():
        now = clock.now()
        asked = [(each.user_id, each.device.id, each.since) for each in proofs]
        locked = {row.number: row for row in queries.lock_users(asked, now=now)}
        writer = _LoginWriter(gateway, now)
        outcomes = [writer.write(proof, locked.get(number)) for number, proof in enumerate(proofs)]
        if writer.waiting:
            queries.set_waiting(writer.waiting.values())
        return outcomes


class _LoginWriter:
    """Write one batch of logins, inside its transaction. `waiting` has yet to be written."""

    def __init__(self, gateway: str, now: datetime) -> None:
        self._gateway = gateway
        self._now = now
        self._new: dict[tuple[int, str], int] = {}
        self.waiting: dict[int, WaitingRow] = {}

    def write(self, proof: VerifiedProof, row: LockedUser | None) -> RecordedLogin | Refusal:
        """Write one login, or return why it is refused."""
        if row is None:
            return "credentials"
        if proof.since == row.password_changed_at:
            if _has_ended(row, self._now):
                return "credentials"
            ends_at = temporary_until(proof.since) if row.is_temporary else None
            accepted = AcceptedLogin(proof.since, "current", ends_at)
        elif row.valid_until is not None:
            accepted = AcceptedLogin(proof.since, "old", row.valid_until)
        else:
            return "expired"
        if not row.is_active:
            return "disabled"
        if row.is_blocked:
            return "blocked"
        name = clean(proof.device.name, LABEL_LENGTH)
        if row.device_pk is None and self._has_too_many(proof):
            return "throttled"
        device_pk = row.device_pk or self._new_device(proof, name)
        self.waiting[device_pk] = WaitingRow(
            device_pk=device_pk,
            name=name,
            os=clean(proof.device.os, LABEL_LENGTH),
            version=clean(proof.device.version, LABEL_LENGTH),
            address=proof.address,
            seen_at=self._now,
            waiting_since=proof.waiting_since,
            gateway=self._gateway,
            login_password=accepted.password,
            login_valid_until=accepted.valid_until,
        )
        if row.gateway not in {"", self._gateway}:
            bus.publish(proof.user_id)  # the older connection there has to end
        pending: list[PushDelivery] = []
        if row.has_pending:
            pending = list(_pending(device_pk).order_by("change__changed_at"))
        if accepted.password == "current":
            _mark_applied(pending, proof.address)
            pending = []
        pushes = [PendingPush(row.change_id, row.sealed, row.change.changed_at) for row in pending]
        return RecordedLogin(device_pk, accepted, tuple(pushes))

    def _has_too_many(self, proof: VerifiedProof) -> bool:
        """Return whether this user has too many new devices to add another."""
        if (proof.user_id, proof.device.id) in self._new:
            return False
        since = self._now - NEW_DEVICES_WITHIN
        lately = Device.objects.filter(user_id=proof.user_id, first_seen_at__gt=since)
        return lately.count() >= MAX_NEW_DEVICES

    def _new_device(self, proof: VerifiedProof, name: str) -> int:
        device, key = proof.device, (proof.user_id, proof.device.id)
        if key not in self._new:
            row = Device.objects.create(
                user_id=proof.user_id,
                device_id=device.id,
                public_key=device.public_key,
                name=name,
            )
            audit.record(
                audit.Action.DEVICE_ADDED,
                actor=None,
                subject=row.user,
                address=proof.address,
                device=name,
            )
            self._new[key] = row.pk
        return self._new[key]


def _pending(device_pk: int) -> QuerySet[PushDelivery]:
    """Return the pushes that are still on their way to a device."""
    return PushDelivery.objects.select_related("change", "device__user__account").filter(
        device_id=device_pk, outcome=PushDelivery.Outcome.PENDING
    )


def _record(action: str, delivery: PushDelivery, address: str, **detail: str) -> None:
    """Write an event about a push to the audit trail."""
    audit.record(
        action,
        actor=None,
        subject=delivery.device.user,
        address=address,
        device=delivery.device.name,
        change=delivery.change_id,
        **detail,
    )


def _mark_applied(deliveries: Iterable[PushDelivery], address: str) -> None:
    """Mark the pushes as applied: the device has proven that it has the current password."""
    for delivery in deliveries:
        delivery.outcome = PushDelivery.Outcome.APPLIED
        delivery.outcome_at = clock.now()
        delivery.sealed = delivery.failure = ""
        delivery.save()
        _record(audit.Action.PUSH_APPLIED, delivery, address)
        seconds = (delivery.outcome_at - delivery.change.changed_at).total_seconds()
        transaction.on_commit(partial(_applied_after, seconds))


def _applied_after(seconds: float) -> None:
    metrics.pushes_applied.inc()
    metrics.push_applied_seconds.observe(max(seconds, 0.0))


def update_failed(device_pk: int, failed: messages.UpdateFailed, address: str) -> None:
    """Record that a device cannot take a push, and give it up unless the keyring may open later."""
    with transaction.atomic():
        locked = _pending(device_pk).select_for_update(of=("self",), no_key=True)
        delivery = locked.filter(change_id=failed.change_id).first()
        if delivery is None or delivery.failure == failed.reason:
            return
        delivery.failure = failed.reason
        if failed.reason != "vault":  # a locked keyring may be open at the next login
            delivery.outcome = PushDelivery.Outcome.FAILED
            delivery.outcome_at = clock.now()
            delivery.sealed = ""
        delivery.save()
        _record(audit.Action.PUSH_FAILED, delivery, address, reason=failed.reason)


def notice(device_pk: int, shown: messages.Notice) -> None:
    """Record the outcome of a warning on the PC."""
    Device.objects.filter(pk=device_pk).update(
        warned=shown.warning, warned_at=clock.now(), warned_days_left=shown.days_left
    )
