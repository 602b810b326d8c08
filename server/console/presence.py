"""What the pages say about PCs: who waits, with which password, and what became of a push."""

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
from server.console.events import failure_text
from server.console.models import Device, PasswordChange, PushDelivery, User


def days_left(valid_until: datetime) -> int:
    """Calendar days of the server's time zone until `valid_until`; 0 is today, never less."""
    end = timezone.localtime(valid_until).date()
    return max((end - timezone.localtime(clock.now()).date()).days, 0)


def days_left_text(valid_until: datetime) -> str:
    """`12 days left`, `today is the last day`, or `no longer valid`."""
    if valid_until <= clock.now():
        return _("no longer valid")
    days = days_left(valid_until)
    if days == 0:
        return _("today is the last day")
    return ngettext("%(days)d day left", "%(days)d days left", days) % {"days": days}


@dataclass(frozen=True)
class Pc:
    """A row about one PC. `password`: which one its client has, as far as the server knows."""

    device: Device
    password: Literal["current", "old", "ended"]
    valid_until: datetime | None

    @classmethod
    def of(cls, device: Device) -> Pc:
        """Judge by what the device last logged in with, and what has been changed since.

        `device` comes from a query `with_presence`.
        """
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


def pcs_of(user: User) -> list[Pc]:
    """The user's PCs, those that wait first, disconnected ones last."""
    found = [Pc.of(device) for device in user.devices.with_presence()]
    return sorted(found, key=lambda pc: (pc.blocked, not pc.waiting))


def waiting(user: User) -> QuerySet[Device]:
    """The user's PCs that a push could reach at this moment."""
    return user.devices.waiting().filter(blocked_at__isnull=True)


State = Literal["applied", "on_its_way", "unreachable", "failed", "not_pushed", "replaced", "ended"]


@dataclass(frozen=True)
class Delivery:
    """What became of one change on one PC."""

    device: Device
    state: State
    old_valid_until: datetime
    """How long the password works that the PC had before."""
    failure: str = ""

    @property
    def old_is_valid(self) -> bool:
        return self.old_valid_until > clock.now()

    @property
    def failure_text(self) -> str:
        return failure_text(self.failure)


def deliveries(change: PasswordChange) -> list[Delivery]:
    """Every PC of the user that the change concerns, pushed to or not."""
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
    """Whether no PC can change its row any more."""
    return all(row.state not in {"on_its_way", "unreachable", "not_pushed"} for row in rows)


def _of_pushed(row: PushDelivery) -> Delivery:
    until = row.device.login_valid_until or row.change.old_valid_until
    if row.outcome == PushDelivery.Outcome.PENDING:
        if row.failure:  # it will be tried again, but somebody may have to open the keyring
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
    """A PC that was not pushed to may have been updated by hand since."""
    updated = latest and device.login_password == "current"
    until = device.login_valid_until or change.old_valid_until
    return Delivery(device, "applied" if updated else "not_pushed", until)
