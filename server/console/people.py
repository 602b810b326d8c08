"""Create, change, disable and delete users, and their PCs.

User names are unique in the whole installation, so the answer "taken" can tell an administrator
that another account has such a user. Each such answer is an audit event. After `TAKEN_PER_DAY` of
them within a day, an account's names are not looked up until the oldest answer is a day old.

An account always keeps an enabled administrator. Each change is one transaction that first locks
the account's row. So two administrators who disable, demote or delete each other at the same moment
cannot both succeed.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import IntegrityError, transaction
from django.db.models import F, OuterRef, Q, QuerySet, Subquery
from django.utils.translation import gettext as _

from server import clock
from server.cluster import bus
from server.console.audit import Action, record
from server.console.models import Account, AuditEvent, Device, ImportJob, User

AT_ONCE = 200
"""Most users of one transaction, so that it takes less than a second: their logins wait for it."""

TAKEN_PER_DAY = 100
"""Most answers that a name is taken. Counted by account: an administrator can make others."""

_KINDS = ("ABCDEFGHJKLMNPQRSTUVWXYZ", "abcdefghijkmnpqrstuvwxyz", "23456789")
"""Characters of temporary passwords, without 0 O o and 1 I l, which look alike on paper."""


class LastAdministrator(ValidationError):
    """Raised if the account would have no enabled administrator; nothing was done."""

    def __init__(self, user: User) -> None:
        text = _("%(user)s is the last enabled administrator of the account.")
        super().__init__(text % {"user": user.username})


class Change(NamedTuple):
    """A change of users: its audit event, the rows that it changes, and the new values."""

    event: Action
    of: Q
    to: dict[str, object]


DISABLE = Change(
    Action.USER_DISABLED,
    of=Q(is_active=True),
    to={"is_active": False, "session_epoch": F("session_epoch") + 1},
)
ENABLE = Change(Action.USER_ENABLED, of=Q(is_active=False), to={"is_active": True})
END_SESSIONS = Change(Action.SESSIONS_ENDED, of=Q(), to={"session_epoch": F("session_epoch") + 1})


def temporary_password() -> str:
    """Return a password such as `kR7m-Xq4t-9hWd`: about 69 bits, within the password rules."""
    while True:
        characters = [secrets.choice("".join(_KINDS)) for _position in range(12)]
        if all(set(kind) & set(characters) for kind in _KINDS):
            return "-".join("".join(characters[start : start + 4]) for start in (0, 4, 8))


def name_refusal(user: User, *, by: User | None) -> str:
    """Return why `user` cannot have its name, or an empty text. `by` is None on the command line.

    A name that differs from another only in case is refused, because people would mix them up.
    """
    if by is not None:
        today = Q(account=by.account_id, at__gt=clock.now() - timedelta(days=1))
        told = AuditEvent.objects.filter(today, action=Action.NAME_TAKEN)
        if told.count() >= TAKEN_PER_DAY:
            return _("Too many user names were taken today. Try again tomorrow.")
    other = User.objects.filter(username__iexact=user.username).first()
    if other is None:
        return ""
    if by is not None and other.account_id != by.account_id:
        record(Action.NAME_TAKEN, actor=by, name=user.username)
    return _("This user name is taken.")


def create(user: User, *, by: User) -> str:
    """Save a new user with its audit event. Return an error if the name has just been taken."""
    try:
        with transaction.atomic():
            user.save()
            record(Action.USER_CREATED, actor=by, subject=user, role=user.role)
    except IntegrityError:
        return _("This user name is taken.")
    return ""


@contextmanager
def as_administrator(by: User | None, account_id: int) -> Iterator[QuerySet[User]]:
    """Lock an account for an action on its users, and yield its enabled administrators.

    `by` must be one of them, and stays one: the actions refuse to demote, disable or delete `by`.
    `by` is None for the command line. Raise PermissionDenied.
    """
    with transaction.atomic():
        Account.objects.select_for_update(no_key=True).get(pk=account_id)
        role = User.Role.ADMINISTRATOR
        administrators = User.objects.filter(account=account_id, is_active=True, role=role)
        if by is not None and not administrators.filter(pk=by.pk).exists():
            raise PermissionDenied
        yield administrators


def apply(change: Change, user: User, *, by: User | None, whole_account: bool = False) -> None:
    """Change a user, and record the change if there is one.

    Raise PermissionDenied, or LastAdministrator unless the `whole_account` is changed.
    """
    with as_administrator(by, user.account_id) as administrators:
        if not User.objects.filter(change.of, pk=user.pk).update(**change.to):
            return
        if user.is_administrator and not whole_account and not administrators.exists():
            raise LastAdministrator(user)
        how: dict[str, Any] = {"whole_account": True} if whole_account else {}
        record(change.event, actor=by, subject=user, **how)
        bus.publish(user.pk)


def apply_to_all(change: Change, users: QuerySet[User], *, whole_account: bool) -> None:
    """Change users from the command line, `AT_ONCE` in each transaction."""
    found = list(users.order_by("pk").select_related("account"))
    for start in range(0, len(found), AT_ONCE):
        with transaction.atomic():
            for user in found[start : start + AT_ONCE]:
                apply(change, user, by=None, whole_account=whole_account)


def disabled_with_account(account: Account) -> QuerySet[User]:
    """Return the users that, by the audit trail, were disabled together with the account."""
    users = User.objects.filter(ENABLE.of, account=account)
    of_user = AuditEvent.objects.filter(subject=OuterRef("pk"), action=Action.USER_DISABLED)
    last = users.annotate(last=Subquery(of_user.order_by("-pk").values("pk")[:1])).values("last")
    found = AuditEvent.objects.filter(pk__in=last, detail__whole_account=True)
    return users.filter(pk__in=found.values("subject"))


def edit(user: User, *, display_name: str | None, role: str | None, by: User | None) -> None:
    """Set a user's name and role, where not None; record what has changed.

    Raise User.DoesNotExist, or PermissionDenied, also when `by` would get another role.
    """
    with as_administrator(by, user.account_id):
        row = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        asked = {"display_name": display_name, "role": role}
        new: dict[str, Any] = {
            field: value
            for field, value in asked.items()
            if value is not None and value != getattr(row, field)
        }
        if "role" in new and by is not None and row.pk == by.pk:
            raise PermissionDenied
        if new:
            for field, value in new.items():
                setattr(row, field, value)
            row.save(update_fields=[*new, "search"])
            record(Action.USER_EDITED, actor=by, subject=row, **new)


def delete(user: User, *, by: User) -> None:
    """Delete a user with all PCs, passwords and pushes; the audit trail keeps the names.

    Raise User.DoesNotExist, or PermissionDenied, also when `user` is `by`.
    """
    if user.pk == by.pk:
        raise PermissionDenied
    with as_administrator(by, user.account_id):
        row = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        devices = list(row.devices.order_by("pk").select_for_update(no_key=True))
        names = [device.name for device in devices]
        record(Action.USER_DELETED, actor=by, subject=row, pcs=names)
        ImportJob.objects.filter(started_by=row).delete()
        row.devices.all().delete()
        # Without `no_key`: a transaction that has just written about this user waits at its commit,
        # and fails. That transaction holds no row that is still to be deleted.
        User.objects.select_for_update().get(pk=row.pk).delete()
        bus.publish(user.pk)


def remove_device(device: Device, *, by: User) -> bool:
    """Delete the row of a PC. Return False, and keep it, while its client waits."""
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=device.user_id)
        rows = Device.objects.filter(pk=device.pk)
        if rows.reachable().exists():
            return False
        if rows.delete()[0]:
            user, name = device.user, device.name
            record(Action.DEVICE_REMOVED, actor=by, subject=user, device=name)
            bus.publish(device.user_id)
    return True


def set_blocked(device: Device, *, blocked: bool, by: User) -> None:
    """Disconnect a PC or allow it again. If it already is so, change and record nothing."""
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=device.user_id)
        rows = Device.objects.filter(pk=device.pk, blocked_at__isnull=blocked)
        if not rows.update(blocked_at=clock.now() if blocked else None):
            return
        action = Action.DEVICE_BLOCKED if blocked else Action.DEVICE_ALLOWED
        record(action, actor=by, subject=device.user, device=device.name)
        bus.publish(device.user_id)
