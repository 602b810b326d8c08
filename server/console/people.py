"""Change, disable and delete users. An account always keeps an enabled administrator.

Each action is one transaction that begins with the lock of the account's row. So two administrators
who disable, demote or delete each other at the same moment do not both succeed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.exceptions import PermissionDenied
from django.db import transaction

from server.cluster import bus
from server.console.audit import Action, record
from server.console.models import Account, Device, ImportJob, User


@contextmanager
def as_administrator(by: User) -> Iterator[None]:
    """Run one action at a time on the users of an account. Raise PermissionDenied.

    `by` must be an enabled administrator, and stays one: the actions refuse to demote, disable or
    delete `by`.
    """
    with transaction.atomic():
        Account.objects.select_for_update(no_key=True).get(pk=by.account_id)
        if not User.objects.filter(pk=by.pk, is_active=True, role=User.Role.ADMINISTRATOR).exists():
            raise PermissionDenied
        yield


def edit(
    user: User, *, display_name: str | None, role: str | None, by: User, address: str | None
) -> None:
    """Set a user's name and role, where not None; record what has changed.

    Raise PermissionDenied, also for another role of `by`, or User.DoesNotExist.
    """
    with as_administrator(by):
        row = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        asked = {"display_name": display_name, "role": role}
        new = {
            field: value
            for field, value in asked.items()
            if value is not None and value != getattr(row, field)
        }
        if "role" in new and row.pk == by.pk:
            raise PermissionDenied
        if new:
            for field, value in new.items():
                setattr(row, field, value)
            row.save(update_fields=[*new, "search"])
            record(Action.USER_EDITED, actor=by, subject=row, address=address, **new)


def delete(user: User, *, by: User, address: str | None) -> None:
    """Delete a user with all PCs, passwords and pushes; the audit trail keeps the names.

    Raise PermissionDenied, also for `by`, or User.DoesNotExist.
    """
    if user.pk == by.pk:
        raise PermissionDenied
    with as_administrator(by):
        row = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        devices = list(row.devices.order_by("pk").select_for_update(no_key=True))
        names = [device.name for device in devices]
        record(Action.USER_DELETED, actor=by, subject=row, address=address, pcs=names)
        ImportJob.objects.filter(started_by=row).delete()
        row.devices.all().delete()
        # Without `no_key`: a transaction that has written of this user waits at its commit, and
        # fails. It holds no row that is still to be deleted.
        User.objects.select_for_update().get(pk=row.pk).delete()
        bus.publish(user.pk)


def remove_device(device: Device, *, by: User, address: str | None) -> bool:
    """Delete the row of a PC; return whether that was possible: not while its client waits."""
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=device.user_id)
        rows = Device.objects.filter(pk=device.pk)
        if rows.reachable().exists():
            return False
        if rows.delete()[0]:
            record(
                Action.DEVICE_REMOVED,
                actor=by,
                subject=device.user,
                address=address,
                device=device.name,
            )
            bus.publish(device.user_id)
    return True
