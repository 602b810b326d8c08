"""Change passwords: retire the current one, set the new one, and prepare the push.

Each change is one transaction, which also writes its audit event and its pushes. The gateways are
woken at its commit. A new password is hashed once, before the transaction, with the salt of the
user's other verifiers: so the same hash shows whether the password is still in use.

To avoid deadlocks, console and gateway lock rows in the same order: the account's row, then user
rows, then device rows, then push deliveries or pairings, each by ascending key. They lock FOR NO
KEY UPDATE: an insert that refers to a user (an audit event, a device) takes FOR KEY SHARE on the
user's row, and would have to wait for FOR UPDATE.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import TypeVar

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Model, Q, QuerySet
from django.utils.translation import gettext as _

from protocol.messages import SealedPassword
from protocol.scram import Verifier
from protocol.sealing import seal
from server import clock, config
from server.cluster import bus
from server.console.audit import Action, record
from server.console.hashers import format_verifier, hash_in_turn, parse_verifier
from server.console.models import (
    AuditEvent,
    Device,
    Pairing,
    PasswordChange,
    PushDelivery,
    RetiredPassword,
    User,
    retired_still_valid,
)
from server.console.validators import reuse_rule_text

Row = TypeVar("Row", bound=Model)

GRACE = timedelta(days=30)
"""Time for which clients may log in with an old password after a change."""
FORGOTTEN_AT_ONCE = 1_000
"""Most audit events or old passwords that one sweep deletes; that is some millions a day."""
REMEMBERED = timedelta(days=365)
"""Time after a password's end in which a client gets `expired` rather than `credentials`."""


class ConcurrentChange(ValidationError):
    """Raised when another change of this password was committed first; nothing was done."""

    def __init__(self) -> None:
        super().__init__(_("This password has just been changed elsewhere. Nothing was done."))


class NotPushed(ValidationError):
    """Raised when some PCs cannot take the password any more; nothing was done."""

    def __init__(self, names: list[str]) -> None:
        text = _(
            "Not possible any more: %(pcs)s. A PC was disconnected, has the new password by now, "
            "or its old password has ended. Nothing was done."
        )
        super().__init__(text % {"pcs": _(", ").join(names)})


class ReusedPassword(ValidationError):
    """Raised when the new password is the current or a valid old one; nothing was done."""

    def __init__(self) -> None:
        super().__init__(reuse_rule_text())


def change_own(
    user: User,
    *,
    new_password: str,
    push_to: Collection[Device] = (),
    late: Collection[Device] = (),
) -> PasswordChange:
    """Change `user`'s own password, and push it to the waiting devices in `push_to`.

    `user` must be as it was when the current password was checked, and is updated at the commit.
    Devices that are not the user's, blocked or not waiting are left out. Devices in `late` get the
    password at their next login, if their old password is still valid.
    Raise ConcurrentChange, ReusedPassword, UnusablePassword, Busy or PermissionDenied (disabled).
    """
    verifier = _new_verifier(user, new_password)
    with transaction.atomic():
        change = _change(user, verifier, kind=PasswordChange.Kind.OWN, by=user, must_change=False)
        chosen = user.devices.filter(pk__in=[device.pk for device in push_to]).reachable()
        late = user.devices.filter(pk__in=[device.pk for device in late]).may_take_push()
        names = _push(change, {*chosen, *late}, new_password)
        record(Action.PASSWORD_CHANGED, actor=user, subject=user, pushed_to=names)
    return change


def push_later(user: User, *, password: str, devices: Collection[Device]) -> PasswordChange:
    """Push `user`'s current `password` to PCs that kept an old one; return the latest change.

    A waiting PC gets it at once, another PC at its next login, while its old password is valid.
    `user` must be as it was when `password` was checked. All of `devices` get it, or none: raise
    NotPushed when one of them already has it, is disconnected, or its old password has expired.
    Raise ConcurrentChange, or PermissionDenied when the user is disabled.
    """
    with transaction.atomic():
        row = lock_as_checked(user)
        wanted = [device.pk for device in devices]
        locked = row.devices.filter(pk__in=wanted).order_by("pk").select_for_update(no_key=True)
        ready = list(locked.may_take_push())
        change = row.password_changes.first()  # the latest
        refused = [device.name for device in devices if device not in ready]
        if refused or not ready or change is None:
            raise NotPushed(refused)
        names = _push(change, ready, password)
        record(Action.PUSHED_LATER, actor=row, subject=row, pushed_to=names)
        bus.publish(row.pk)
    return change


def lock_as_checked(user: User, *, must_be_active: bool = True) -> User:
    """Lock and return the row of `user`, whose password was checked. Call in a transaction.

    Raise ConcurrentChange when the password has changed since the check, PermissionDenied when
    the user is disabled and `must_be_active`.
    """
    row = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    if row.password != user.password:
        raise ConcurrentChange
    if must_be_active and not row.is_active:
        raise PermissionDenied
    return row


def force(user: User, *, by: User | None, new_password: str, must_change: bool) -> PasswordChange:
    """Set `user`'s password as an account administrator; nothing is pushed.

    `by` is None for the command line. Raise PermissionDenied when `by` is not an enabled
    administrator of the user's account. Raise the other errors of `change_own`, but the user may
    be disabled.
    """
    if by is not None:
        _check_administrator(by, user)
    verifier = _new_verifier(user, new_password)
    with transaction.atomic():
        kind = PasswordChange.Kind.FORCED
        change = _change(user, verifier, kind=kind, by=by, must_change=must_change)
        record(Action.PASSWORD_FORCED, actor=by, subject=user, must_change=must_change)
    return change


def set_initial(user: User, password: str, *, must_change: bool, when_idle: bool = False) -> None:
    """Set the fields of a new user's first password; the caller saves them.

    So the hashing (0.3 s) ends before the caller's transaction begins. An import hashes
    `when_idle`. Raise UnusablePassword or Busy.
    """
    user.password = format_verifier(hash_in_turn(password, when_idle=when_idle))
    user.must_change_password = must_change
    user.password_changed_at = clock.now()


def end_old_passwords(user: User, *, by: User) -> int:
    """End all valid old passwords of `user` now, and return their number.

    Raise PermissionDenied unless `by` is the user or an administrator of the user's account.
    """
    if by.pk != user.pk:
        _check_administrator(by, user)
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        now = clock.now()
        ended = retired_still_valid(user, at=now).update(valid_until=now)
        user.devices.filter(login_valid_until__gt=now).update(login_valid_until=now)
        _finish(PushDelivery.Outcome.EXPIRED, change__user=user)
        if ended:
            record(Action.OLD_PASSWORDS_ENDED, actor=by, subject=user, count=ended)
        bus.publish(user.pk)
    return ended


def old_valid_until(user: User) -> datetime | None:
    """Return when the last valid old password expires, or None if there is none."""
    last = retired_still_valid(user, at=clock.now()).order_by("-valid_until").first()
    return last.valid_until if last else None


def tidy_up() -> None:
    """End pushes to PCs whose old password has expired, and delete rows that ended long ago.

    To avoid deadlocks, rows that another transaction has locked are left to the next call.
    """
    now = clock.now()
    with transaction.atomic():
        pending = PushDelivery.objects.filter(outcome=PushDelivery.Outcome.PENDING)
        # Each PC's old password has its own end, before or after the end that the change gave.
        expired = _unlocked(pending.filter(device__login_valid_until__lte=now))
        _finish(PushDelivery.Outcome.EXPIRED, pk__in=list(expired.values_list("pk", flat=True)))
        # Codes that a killed gateway has left; delivered ones stay a day for the result page.
        left = Q(delivered_at=None, expires_at__lt=now - timedelta(minutes=1))
        for forgotten in (
            RetiredPassword.objects.filter(valid_until__lt=now - REMEMBERED),
            Pairing.objects.filter(left | Q(expires_at__lt=now - timedelta(days=1))),
        ):
            some = _unlocked(forgotten).values_list("pk", flat=True)[:FORGOTTEN_AT_ONCE]
            forgotten.filter(pk__in=list(some)).delete()
    if days := config.current().audit_days:
        with transaction.atomic():
            oldest = _unlocked(AuditEvent.objects.order_by("pk")).values_list("pk", "at")
            limit = now - timedelta(days=days)
            keys = [pk for pk, at in oldest[:FORGOTTEN_AT_ONCE] if at < limit]
            AuditEvent.objects.filter(pk__in=keys).delete()


def _unlocked(rows: QuerySet[Row]) -> QuerySet[Row]:
    """Return a query that locks the rows, without rows that another transaction has locked."""
    return rows.select_for_update(of=("self",), skip_locked=True, no_key=True)


def _new_verifier(user: User, password: str) -> Verifier:
    """Hash with the salt of the user's other verifiers: one proof can be checked against all."""
    current = parse_verifier(user.password)
    return hash_in_turn(password, salt=current.salt, iterations=current.iterations)


def _change(
    user: User, verifier: Verifier, *, kind: PasswordChange.Kind, by: User | None, must_change: bool
) -> PasswordChange:
    """Retire the current password, set the new one, wake the gateways. Call in a transaction."""
    row = lock_as_checked(user, must_be_active=by is not None and by.pk == user.pk)
    now = clock.now()
    in_use = [row.password, *(old.verifier for old in retired_still_valid(row, at=now))]
    if any(parse_verifier(each).same_password(verifier) for each in in_use):
        raise ReusedPassword
    is_over = row.temporary_until is not None and row.temporary_until <= now
    until = now if is_over else now + GRACE
    since, old = row.password_changed_at, {"login_password": "old", "login_valid_until": until}
    row.retired_passwords.create(
        verifier=row.password, since=since, retired_at=now, valid_until=until
    )
    row.devices.filter(login_password="current").update(**old)
    _finish(PushDelivery.Outcome.SUPERSEDED, change__user=row)
    change = row.password_changes.create(
        changed_by=by, kind=kind, changed_at=now, old_valid_until=until
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


def _push(change: PasswordChange, devices: Collection[Device], password: str) -> list[str]:
    """Write pending pushes to devices, and return their names. Call in a transaction.

    A push that is already pending stays as it is.
    """
    ordered = sorted(devices, key=lambda device: device.pk)
    fresh = {"outcome": PushDelivery.Outcome.PENDING, "failure": ""}
    on_its_way = set(change.deliveries.filter(**fresh).values_list("device_id", flat=True))
    for device in ordered:
        if device.pk in on_its_way:
            continue
        message = SealedPassword(change_id=change.pk, device_id=device.device_id, password=password)
        sealed = seal(message, public_key=device.public_key)
        again = {**fresh, "sealed": sealed, "pushed_at": clock.now(), "outcome_at": None}
        change.deliveries.update_or_create(device=device, defaults=again)
    return [device.name for device in ordered]


def _finish(outcome: PushDelivery.Outcome, **which: object) -> int:
    return PushDelivery.objects.filter(outcome=PushDelivery.Outcome.PENDING, **which).update(
        outcome=outcome, outcome_at=clock.now(), sealed=""
    )


def _check_administrator(by: User, user: User) -> None:
    if not (by.is_active and by.is_administrator and by.account_id == user.account_id):
        raise PermissionDenied
