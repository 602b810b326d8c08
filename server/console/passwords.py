"""The rules of a password change: what becomes old, until when, and who is told.

Every change is one transaction, with its audit event and what is to be pushed; gateways are
woken once it is committed. Hashing takes 0.3 s and happens before the transaction.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Literal

from django.contrib.auth.hashers import is_password_usable
from django.core.exceptions import PermissionDenied
from django.db import transaction

from protocol.messages import SealedPassword
from protocol.scram import Verifier
from protocol.sealing import seal
from server import clock
from server.cluster import bus
from server.console import audit, hashers
from server.console.hashers import (
    UnusablePassword,
    format_verifier,
    hash_password,
    parse_verifier,
    prepare,
)
from server.console.models import (
    Device,
    PasswordChange,
    PendingChange,
    RetiredPassword,
    User,
    retired_still_valid,
)

GRACE = timedelta(days=30)
"""How long clients may go on with a password after it was changed."""
REMEMBERED = timedelta(days=365)
"""How long after its end a client is told `expired` rather than `credentials`."""

__all__ = [
    "GRACE",
    "ConcurrentChange",
    "ReusedPassword",
    "UnusablePassword",
    "change_own",
    "end_old_passwords",
    "force",
    "matches_known",
    "old_valid_until",
    "set_initial",
    "tidy_up",
]


class ConcurrentChange(Exception):
    """Somebody else has changed this password meanwhile; nothing was done."""


class ReusedPassword(ValueError):
    """The new password is the current or a still valid old one; nothing was done."""


def change_own(
    user: User, *, new_password: str, push_to: Collection[Device], address: str | None
) -> PasswordChange:
    """Change `user`'s own password and push it to those of `push_to` that wait.

    `user` must be as it was when the current password was checked; it is brought up to date.
    Devices that are not the user's, blocked or not waiting are passed over.
    Raise ConcurrentChange, ReusedPassword, UnusablePassword or PermissionDenied (disabled).
    """
    verifier = _new_verifier(user, new_password)
    with transaction.atomic():
        change = _change(user, verifier, kind=PasswordChange.Kind.OWN, by=user, must_change=False)
        devices = list(
            Device.objects.waiting().filter(
                user=user,
                pk__in=[device.pk for device in push_to],
                blocked_at__isnull=True,
            )
        )
        PendingChange.objects.bulk_create(
            PendingChange(change=change, device=device, sealed=_seal(change, device, new_password))
            for device in devices
        )
        audit.record(
            audit.Action.PASSWORD_CHANGED,
            actor=user,
            subject=user,
            address=address,
            pushed_to=[device.name for device in devices],
        )
    return change


def force(
    user: User, *, by: User, new_password: str, must_change: bool, address: str | None
) -> PasswordChange:
    """Set `user`'s password as an account administrator; nothing is pushed.

    Raise PermissionDenied when `by` is not an enabled administrator of the user's account,
    else as `change_own`, except that a disabled user's password may be set.
    """
    _check_administrator(by, user)
    verifier = _new_verifier(user, new_password)
    with transaction.atomic():
        change = _change(
            user, verifier, kind=PasswordChange.Kind.FORCED, by=by, must_change=must_change
        )
        audit.record(
            audit.Action.PASSWORD_FORCED,
            actor=by,
            subject=user,
            address=address,
            must_change=must_change,
        )
    return change


def set_initial(user: User, password: str, *, must_change: bool) -> None:
    """Give a new user its first password. Sets fields only: the caller saves.

    So the hashing (0.3 s) is done before the caller's transaction begins.
    Raise UnusablePassword.
    """
    salt, iterations = hashers.new_salt(), hashers.ITERATIONS
    user.password = format_verifier(hash_password(password, salt=salt, iterations=iterations))
    user.must_change_password = must_change
    user.password_changed_at = clock.now()


def matches_known(user: User, password: str) -> Literal["current", "old"] | None:
    """Whether `password` is the current or a still valid old one of `user`: one hashing."""
    if not is_password_usable(user.password):
        return None
    current = parse_verifier(user.password)
    try:
        tried = hash_password(password, salt=current.salt, iterations=current.iterations)
    except UnusablePassword:
        return None
    return _match(user, tried)


def end_old_passwords(user: User, *, by: User, address: str | None) -> int:
    """End all of `user`'s old passwords now; how many there were.

    Raise PermissionDenied unless `by` is the user or an administrator of the user's account.
    """
    if by.pk != user.pk:
        _check_administrator(by, user)
    with transaction.atomic():
        User.objects.select_for_update().get(pk=user.pk)
        now = clock.now()
        ended = retired_still_valid(user, at=now).update(valid_until=now)
        user.devices.filter(login_valid_until__gt=now).update(login_valid_until=now)
        _finish(PendingChange.Outcome.EXPIRED, change__user=user)
        if ended:
            audit.record(
                audit.Action.OLD_PASSWORDS_ENDED,
                actor=by,
                subject=user,
                address=address,
                count=ended,
            )
        bus.publish(user.pk)
    return ended


def old_valid_until(user: User) -> datetime | None:
    """The end of the last old password that clients may still use, if there is one."""
    last = retired_still_valid(user, at=clock.now()).order_by("-valid_until").first()
    return last.valid_until if last else None


def tidy_up() -> None:
    """Give up pushes whose old password has ended, and forget passwords that ended long ago."""
    now = clock.now()
    _finish(PendingChange.Outcome.EXPIRED, change__old_valid_until__lte=now)
    RetiredPassword.objects.filter(valid_until__lt=now - REMEMBERED).delete()


def _new_verifier(user: User, password: str) -> Verifier:
    """With the salt of the user's other verifiers, which one proof is checked against."""
    prepare(password)
    if not is_password_usable(user.password):
        return hash_password(password, salt=hashers.new_salt(), iterations=hashers.ITERATIONS)
    current = parse_verifier(user.password)
    return hash_password(password, salt=current.salt, iterations=current.iterations)


def _change(
    user: User, verifier: Verifier, *, kind: PasswordChange.Kind, by: User, must_change: bool
) -> PasswordChange:
    """Inside a transaction: retire the current password, set the new one, wake the gateways."""
    row = User.objects.select_for_update().get(pk=user.pk)
    if row.password != user.password:
        raise ConcurrentChange
    if by.pk == row.pk and not row.is_active:
        raise PermissionDenied
    if is_password_usable(row.password) and _match(row, verifier):
        raise ReusedPassword("this password is in use, or was a short while ago")
    now = clock.now()
    until = now
    if is_password_usable(row.password):
        until = now + GRACE
        RetiredPassword.objects.create(
            user=row,
            verifier=row.password,
            since=row.password_changed_at,
            retired_at=now,
            valid_until=until,
        )
        row.devices.filter(login_password="current").update(
            login_password="old", login_valid_until=until
        )
    _finish(PendingChange.Outcome.SUPERSEDED, change__user=row)
    change = PasswordChange.objects.create(
        user=row, changed_by=by, kind=kind, changed_at=now, old_valid_until=until
    )
    row.password = format_verifier(verifier)
    row.must_change_password = must_change
    row.password_changed_at = now
    row.save(update_fields=["password", "must_change_password", "password_changed_at"])

    def committed() -> None:
        user.password = row.password
        user.must_change_password = must_change
        user.password_changed_at = now

    transaction.on_commit(committed)
    bus.publish(row.pk)
    return change


def _match(user: User, tried: Verifier) -> Literal["current", "old"] | None:
    if parse_verifier(user.password).same_password(tried):
        return "current"
    retired = retired_still_valid(user, at=clock.now())
    if any(parse_verifier(old.verifier).same_password(tried) for old in retired):
        return "old"
    return None


def _seal(change: PasswordChange, device: Device, password: str) -> str:
    message = SealedPassword(change_id=change.pk, device_id=device.device_id, password=password)
    return seal(message, public_key=device.public_key)


def _finish(outcome: PendingChange.Outcome, **which: object) -> int:
    return PendingChange.objects.filter(outcome=PendingChange.Outcome.PENDING, **which).update(
        outcome=outcome, outcome_at=clock.now(), sealed=""
    )


def _check_administrator(by: User, user: User) -> None:
    if not (by.is_active and by.is_administrator and by.account_id == user.account_id):
        raise PermissionDenied
