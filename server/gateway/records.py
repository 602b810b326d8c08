"""Read and write the rows of a gateway's clients; runs on the store's threads.

A function for many clients gives each the same result as if it were called for that client alone.
All functions are idempotent: they may be repeated after an interruption.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal, NamedTuple

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
from server.console.models import Device, Pairing, PushDelivery, ServerSecret, temporary_until
from server.gateway import queries

LABEL_LENGTH = 128
MAX_NEW_DEVICES, NEW_DEVICES_WITHIN = 100, timedelta(days=1)
"""Most new devices of one user. A client can add any number, each a row and an audit event."""

Refusal = Literal["credentials", "expired", "disabled", "blocked", "throttled"]


class LoginLookup(msgspec.Struct, frozen=True, gc=False):
    """What a login needs to begin. `user_id` is None when there is no such user."""

    user_id: int | None
    candidates: tuple[tuple[datetime, Verifier], ...]
    """The verifiers that a proof may match, each with the time that identifies its password."""
    known_device: bool
    """Whether the user has logged in on this device before."""


class VerifiedProof(msgspec.Struct, frozen=True, gc=False):
    """A correct proof, made with the password that `since` identifies."""

    user_id: int
    since: datetime
    device: messages.Device
    address: str
    waiting_since: datetime


class RecordedLogin(msgspec.Struct, frozen=True, gc=False):
    """A login that was accepted and written."""

    device_pk: int
    accepted: queries.AcceptedLogin
    pending: tuple[queries.PendingPush, ...]
    """The pushes that are still on their way to this device, the oldest first."""


def server_secret() -> bytes:
    """Return the secret from which salts of unknown users are derived; create it at first use."""
    secret, _ = ServerSecret.objects.get_or_create(
        name="made-up-salt", defaults={"value": secrets.token_bytes(32)}
    )
    return bytes(secret.value)


def look_up(asked: Sequence[tuple[str, str]], secret: bytes) -> list[LoginLookup]:
    """Return what each login needs to begin, by user name and device id."""
    users = queries.find_users(asked)
    return [_lookup(name, user, secret) for (name, _), user in zip(asked, users, strict=True)]


def _lookup(username: str, user: queries.FoundUser | None, secret: bytes) -> LoginLookup:
    if user is None or not is_password_usable(user.password):
        return LoginLookup(None, ((clock.now(), made_up(username, secret)),), known_device=False)
    current, since = parse_verifier(user.password), user.password_changed_at
    old = [(each.since, parse_verifier(each.verifier)) for each in user.old or ()]
    # Verifiers with another salt are from before the rounds were raised, and long expired.
    old = [(since, verifier) for since, verifier in old if verifier.shares_salt(current)]
    if user.is_temporary and temporary_until(since) <= clock.now():
        current = _unmatched(current.iterations, current.salt)
    return LoginLookup(user.pk, ((since, current), *old), known_device=bool(user.knows_device))


def made_up(username: str, secret: bytes) -> Verifier:
    """Return a verifier that no proof matches. Its salt is always the same for a `username`."""
    salt = hmac.digest(secret, username.encode(), "sha256")[: hashers.SALT_BYTES]
    return _unmatched(hashers.ITERATIONS, salt)


def _unmatched(iterations: int, salt: bytes) -> Verifier:
    return Verifier(iterations, salt, secrets.token_bytes(32), secrets.token_bytes(32))


def log_in(proofs: Sequence[VerifiedProof], *, gateway: str) -> list[RecordedLogin | Refusal]:
    """Write the logins of correct proofs; check again what may have changed since the lookup."""
    asked = [(each.user_id, each.device.id) for each in proofs]
    with transaction.atomic():
        queries.lock(asked)
        writer = _LoginWriter(gateway)
        outcomes = list(map(writer.write, proofs, queries.device_states(asked)))
        if writer.waiting:
            queries.set_waiting(writer.waiting.values())
        return outcomes


class _LoginWriter:
    """Write one batch of logins in a transaction; the caller then writes the rows of `waiting`."""

    def __init__(self, gateway: str) -> None:
        self._gateway = gateway
        self._now = clock.now()
        self._new: dict[tuple[int, str], int] = {}
        self.waiting: dict[int, queries.WaitingRow] = {}

    def write(
        self, proof: VerifiedProof, state: queries.DeviceState | None
    ) -> RecordedLogin | Refusal:
        """Write one login, or return why it is refused."""
        if state is None:
            return "credentials"
        accepted = state.accepts(proof.since)
        if accepted is None:
            return "credentials" if proof.since == state.password_changed_at else "expired"
        if not state.is_active:
            return "disabled"
        if state.is_blocked:
            return "blocked"
        labels = labels_of(proof.device)
        if state.device_pk is None and self._has_too_many(proof):
            return "throttled"
        device_pk = state.device_pk or self._new_device(proof, labels["name"])
        self.waiting[device_pk] = queries.WaitingRow(
            device_pk=device_pk,
            **labels,
            address=proof.address,
            seen_at=self._now,
            waiting_since=proof.waiting_since,
            gateway=self._gateway,
            login_password=accepted.password,
            login_valid_until=accepted.valid_until,
        )
        if state.gateway not in {"", self._gateway}:
            bus.publish(proof.user_id)  # the older connection there has to end
        pending = state.pending or []
        if pending and accepted.password == "current":
            _mark_applied(device_pk, proof.address)
            pending = []
        return RecordedLogin(device_pk, accepted, tuple(pending))

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
                user_id=key[0], device_id=key[1], public_key=device.public_key, name=name
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


def labels_of(device: messages.Device) -> dict[str, str]:
    """Return a PC's name, system and version for people to read, without control characters.

    A PC without a name gets one from its id, so that pages can name it.
    """
    labels = {"name": device.name, "os": device.os, "version": device.version}
    cleaned = {field: clean(text, LABEL_LENGTH) for field, text in labels.items()}
    return cleaned | {"name": cleaned["name"] or f"PC {device.id[:8]}"}


def _pending(device_pk: int) -> QuerySet[PushDelivery]:
    """Return the pushes that are still on their way to a device."""
    return PushDelivery.objects.select_related("change", "device__user__account").filter(
        device_id=device_pk, outcome=PushDelivery.Outcome.PENDING
    )


def _record(action: str, delivery: PushDelivery, address: str, **detail: Any) -> None:
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


def _mark_applied(device_pk: int, address: str) -> None:
    """Mark a device's pushes as applied: it has proven that it has the current password."""
    for delivery in _pending(device_pk).order_by("change__changed_at"):
        delivery.outcome = PushDelivery.Outcome.APPLIED
        delivery.outcome_at = clock.now()
        delivery.sealed = delivery.failure = ""
        delivery.save()
        _record(audit.Action.PUSH_APPLIED, delivery, address)
        seconds = (delivery.outcome_at - delivery.pushed_at).total_seconds()
        transaction.on_commit(partial(_applied_after, seconds))


def _applied_after(seconds: float) -> None:
    metrics.pushes_applied.inc()
    metrics.push_applied_seconds.observe(max(seconds, 0.0))


def update_failed(device_pk: int, failed: messages.UpdateFailed, address: str) -> None:
    """Record that a push failed on a device; end the push unless the keyring may open later."""
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
    """Record the outcome of a warning on the PC. "Not due" replaces no other outcome."""
    devices = Device.objects.filter(pk=device_pk)
    if shown.warning is messages.WarningOutcome.SUPPRESSED:
        devices = devices.filter(warned="")
    devices.update(
        warned=shown.warning.value, warned_at=clock.now(), warned_days_left=shown.days_left
    )


def restore_waiting(waits: Sequence[queries.WaitingDevice], *, gateway: str) -> None:
    """Write again that devices wait, after another gateway has cleared their rows."""
    for each in waits:
        lost = Device.objects.filter(pk=each.device_pk, waiting_since=None, blocked_at=None)
        lost.update(waiting_since=each.waiting_since, gateway=gateway)


class OpenPairing(NamedTuple):
    """The user and the sealed password for a PC that shows a code; `sealed` is empty at first."""

    change_id: str
    sealed: str
    user_id: int | None
    username: str | None


def open_pairings(new: Sequence[Pairing]) -> Sequence[Pairing]:
    """Write that new PCs show codes."""
    return Pairing.objects.bulk_create(new)


def sync_pairings(
    codes: Collection[str], *, delivered: Collection[str], ended: Collection[str]
) -> dict[str, OpenPairing]:
    """Mark `delivered` codes, delete the other `ended` ones, and return the rows of `codes`."""
    if delivered:
        sent = Pairing.objects.filter(code__in=delivered)
        sent.update(sealed="", delivered_at=clock.now())
    if ended:
        Pairing.objects.filter(code__in=ended, delivered_at=None).delete()
    if not codes:
        return {}
    found = Pairing.objects.filter(code__in=codes)
    rows = found.values_list("code", "change_id", "sealed", "user_id", "user__username")
    return {row[0]: OpenPairing(*row[1:]) for row in rows}
