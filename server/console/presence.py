"""Describe PCs for the pages: which ones wait, with which password, and the outcome of pushes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from django.db.models import Prefetch, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from server import clock
from server.console.audit import failure_text
from server.console.models import Device, PasswordChange, PushDelivery, User


def days_left(valid_until: datetime) -> int:
    """Return the calendar days until `valid_until` in the server's time zone; today is 0."""
    end = timezone.localtime(valid_until).date()
    return max((end - timezone.localtime(clock.now()).date()).days, 0)


def days_left_text(valid_until: datetime) -> str:
    """Return `12 days left`, `today is the last day`, or `no longer valid`."""
    if valid_until <= clock.now():
        return _("no longer valid")
    days = days_left(valid_until)
    if days == 0:
        return _("today is the last day")
    return ngettext("%(days)d day left", "%(days)d days left", days) % {"days": days}


@dataclass(frozen=True)
class Pc:
    """A row about one PC; `password` is the one that its client has, as far as is known."""

    device: Device
    password: Literal["current", "old", "ended"]
    valid_until: datetime | None

    @classmethod
    def of(cls, device: Device) -> Pc:
        """Return the row of a device, which must come from a query `with_presence`."""
        until = device.login_valid_until
        if device.login_password != "old" or until is None:
            return cls(device, "current", None)
        return cls(device, "old" if until > clock.now() else "ended", until)

    @property
    def waiting(self) -> bool:
        return self.device.is_waiting and not self.blocked

    @property
    def blocked(self) -> bool:
        return self.device.blocked_at is not None

    @property
    def days_left_text(self) -> str:
        return days_left_text(self.valid_until) if self.valid_until else ""

    @property
    def failure_text(self) -> str:
        """Return why the last push failed; the query must be `with_push_failure`."""
        return failure_text(self.device.push_failure) if self.device.push_failure else ""


def pcs_of(user: User) -> list[Pc]:
    """Return the user's PCs: those that wait first, disconnected ones last."""
    found = [Pc.of(device) for device in user.devices.with_presence()]
    return sorted(found, key=lambda pc: (pc.blocked, not pc.waiting))


def waiting(user: User) -> QuerySet[Device]:
    """Return the user's PCs that a push could reach at this moment."""
    return user.devices.waiting().filter(blocked_at__isnull=True)


State = Literal["applied", "on_its_way", "unreachable", "failed", "not_pushed", "replaced", "ended"]


@dataclass(frozen=True)
class Delivery:
    """The outcome of one change on one PC."""

    device: Device
    state: State
    old_valid_until: datetime
    """The end of the password that the PC had before."""
    failure: str = ""

    @property
    def old_is_valid(self) -> bool:
        return self.old_valid_until > clock.now()

    @property
    def failure_text(self) -> str:
        return failure_text(self.failure)


def deliveries(change: PasswordChange) -> list[Delivery]:
    """Return the outcome on every PC of the user that the change concerns, pushed to or not."""
    devices = Prefetch("device", Device.objects.with_presence())
    rows_of_push = change.deliveries.select_related("change").prefetch_related(devices)
    pushed = {row.device_id: row for row in rows_of_push}
    others = Device.objects.filter(
        user_id=change.user_id, blocked_at__isnull=True, first_seen_at__lte=change.changed_at
    ).exclude(pk__in=pushed)
    latest = not PasswordChange.objects.filter(
        user_id=change.user_id, changed_at__gt=change.changed_at
    ).exists()
    rows = [_of_pushed(row) for row in pushed.values()]
    rows += [_of_other(device, change, latest=latest) for device in others]
    return sorted(rows, key=lambda row: row.device.name.casefold())


def are_settled(rows: Iterable[Delivery]) -> bool:
    """Return whether all outcomes are final."""
    return all(row.state not in {"on_its_way", "unreachable", "not_pushed"} for row in rows)


def _of_pushed(row: PushDelivery) -> Delivery:
    until = row.device.login_valid_until or row.change.old_valid_until
    if row.outcome == PushDelivery.Outcome.PENDING:
        if row.failure:  # the client tries again, but the user may have to unlock the keyring
            return Delivery(row.device, "failed", until, row.failure)
        state: State = "on_its_way" if row.device.is_waiting else "unreachable"
        return Delivery(row.device, state, until)
    states: dict[str, State] = {
        PushDelivery.Outcome.APPLIED: "applied",
        PushDelivery.Outcome.FAILED: "failed",
        PushDelivery.Outcome.SUPERSEDED: "replaced",
        PushDelivery.Outcome.EXPIRED: "ended",
    }
    return Delivery(row.device, states[row.outcome], until, row.failure)


def _of_other(device: Device, change: PasswordChange, *, latest: bool) -> Delivery:
    """Return the outcome on a PC without a push, which may have been updated by hand since."""
    updated = latest and device.login_password == "current"
    until = device.login_valid_until or change.old_valid_until
    return Delivery(device, "applied" if updated else "not_pushed", until)
