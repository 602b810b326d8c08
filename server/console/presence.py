"""Describe PCs for the pages: which PCs wait, their passwords, and the outcome of pushes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from protocol.messages import Release
from protocol.versions import is_older
from server import clock, config
from server.console.models import Device, PasswordChange, PushDelivery, User
from server.console.passwords import GRACE


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


def away_text(farewell: str) -> str:
    """Return why a PC does not wait, from its client's farewell; the text has a field `{since}`."""
    texts = {
        "sleep": _("Asleep (since {since})"),
        "shutdown": _("Shut down or restarting (since {since})"),
        "sign_out": _("Signed out of Windows (since {since})"),
        "update": _("The client is being updated (since {since})"),
        "quit": _("The client was quit (since {since})"),
    }
    return texts.get(farewell) or _("Not waiting (last seen {since}; gave no reason)")


@dataclass(frozen=True)
class Pc:
    """One PC on a page; `password` is the state of its client's password, as far as is known."""

    device: Device
    password: Literal["current", "old", "ended"]
    valid_until: datetime | None

    @classmethod
    def of(cls, device: Device) -> Pc:
        """Return the Pc of a device that comes from a query `with_presence`."""
        until = device.login_valid_until
        if device.login_password != "old" or until is None:
            return cls(device, "current", None)
        return cls(device, "old" if until > clock.now() else "ended", until)

    @property
    def waiting(self) -> bool:
        return self.device.is_waiting and not self.blocked

    @property
    def keeps_until(self) -> datetime:
        """Return when the PC's password will expire if the user's is changed now without a push."""
        return self.valid_until or clock.now() + GRACE

    @property
    def is_new(self) -> bool:
        """Return whether the PC first logged in after the last change of the password."""
        return bool(self.device.first_seen_at > self.device.user.password_changed_at)

    @property
    def can_push(self) -> bool:
        """Return whether the user may push the new password to this PC."""
        return self.password == "old" and not (self.blocked or self.device.is_push_pending)

    @property
    def blocked(self) -> bool:
        return self.device.blocked_at is not None

    @property
    def newer(self) -> Release | None:
        """Return the newest client, or None if this PC has it or the settings do not name it."""
        newest = config.current().newest_client
        return newest if newest and is_older(self.device.version, newest.version) else None


def pcs_of(user: User) -> list[Pc]:
    """Return the user's PCs: waiting PCs first, disconnected PCs last."""
    found = [Pc.of(device) for device in user.devices.with_presence().with_push()]
    return sorted(found, key=lambda pc: (pc.blocked, not pc.waiting))


def preview(pcs: list[Pc], takes: set[int]) -> dict[str, object]:
    """Return the context of a preview: a change in which the PCs `takes` take the new password."""
    allowed = [pc for pc in pcs if not pc.blocked]
    return {
        "waiting": [pc for pc in allowed if pc.waiting],
        "allowed": allowed,
        "blocked": [pc for pc in pcs if pc.blocked],
        "takes": takes,
        "all_take": all(pc.device.pk in takes for pc in allowed),
    }


@dataclass(frozen=True)
class Delivery:
    """The outcome of one change on one PC."""

    device: Device
    state: str
    """The outcome of the push, or `on_its_way`, `unreachable` or `not_pushed`."""
    old_valid_until: datetime
    """When the password that the PC had before the change expires."""
    failure: str
    can_push: bool
    """Whether the user may push the password to this PC now."""


def deliveries(change: PasswordChange) -> list[Delivery]:
    """Return a change's outcome on each PC that existed at the change or got a push."""
    pushed = {push.device_id: push for push in change.deliveries.all()}
    was_there = Q(blocked_at__isnull=True, first_seen_at__lte=change.changed_at)
    devices = change.user.devices.with_presence().filter(was_there | Q(pk__in=pushed))
    later = change.user.password_changes.filter(changed_at__gt=change.changed_at)
    is_latest = not later.exists()
    rows = []
    for device in sorted(devices, key=lambda device: device.name.casefold()):
        push = pushed.get(device.pk)
        until = device.login_valid_until or change.old_valid_until
        state = _state(device, push, is_latest=is_latest)
        may = is_latest and state in {"not_pushed", "failed"}
        can_push = may and Pc.of(device).password == "old" and device.blocked_at is None
        rows.append(Delivery(device, state, until, push.failure if push else "", can_push))
    return rows


def _state(device: Device, push: PushDelivery | None, *, is_latest: bool) -> str:
    if push is None:  # the user may have typed the password at the PC since
        return "applied" if is_latest and device.login_password == "current" else "not_pushed"
    if push.outcome != PushDelivery.Outcome.PENDING:
        return push.outcome
    if push.failure:  # the client retries, but the user may have to unlock the keyring
        return "failed"
    return "on_its_way" if device.is_waiting else "unreachable"


def are_settled(rows: Iterable[Delivery]) -> bool:
    """Return whether all outcomes are final."""
    return all(row.state not in {"on_its_way", "unreachable", "not_pushed"} for row in rows)
