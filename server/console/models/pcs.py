"""PCs, the gateways where they wait, and the pushes and pairings for them."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import ClassVar, Self

from django.db import models
from django.db.models import Case, Exists, OuterRef, Q, Subquery, Value, When
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from server import clock
from server.console.models.people import User

DEAD_AFTER = timedelta(seconds=45)
"""A gateway without a heartbeat for this long is dead; its clients do not count as waiting."""


class Gateway(models.Model):
    """A gateway that runs, or was killed; `heartbeat.py` writes the rows.

    Times are from the database's clock, so the clocks of the gateways need not agree.
    """

    name = models.CharField(primary_key=True, max_length=64)
    incarnation = models.CharField(max_length=32)
    """Random; tells apart two starts of a gateway under one name."""
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    """The last heartbeat."""


def live_gateways() -> models.QuerySet[Gateway, str]:
    """Return the names of the gateways that are alive, for a subquery."""
    return Gateway.objects.filter(seen_at__gt=Now() - DEAD_AFTER).values_list("name", flat=True)


class DeviceQuerySet(models.QuerySet["Device"]):
    """Find devices. A device waits while it is connected to a gateway that is alive."""

    @staticmethod
    def waits() -> Q:
        """Return the condition that a device waits at this moment."""
        return Q(waiting_since__isnull=False, gateway__in=live_gateways())

    @staticmethod
    def is_on_old_password() -> Q:
        """Return the condition that the last login used an old password, which may have expired."""
        return Q(login_password="old", login_valid_until__isnull=False)

    def waiting(self) -> Self:
        """Return the devices that wait at this moment."""
        return self.filter(self.waits())

    def reachable(self) -> Self:
        """Return the devices that a push could reach at this moment."""
        return self.waiting().filter(blocked_at__isnull=True)

    def on_old_password(self) -> Self:
        """Return the devices without the current password, as far as the server knows."""
        return self.filter(self.is_on_old_password())

    def may_take_push(self) -> Self:
        """Return the devices with a valid old password, which a push could replace."""
        return self.on_old_password().filter(
            blocked_at__isnull=True, login_valid_until__gt=clock.now()
        )

    def with_presence(self) -> Self:
        """Add `is_waiting` to each row."""
        return self.annotate(
            is_waiting=Case(When(self.waits(), then=Value(True)), default=Value(False))
        )

    def with_push(self) -> Self:
        """Add `is_push_pending` (whether a push is on its way) and `push_failure` to each row."""
        pending = PushDelivery.objects.filter(
            device=OuterRef("pk"), outcome=PushDelivery.Outcome.PENDING, failure=""
        )
        return self.annotate(is_push_pending=Exists(pending)).with_push_failure()

    def with_push_failure(self) -> Self:
        """Add `push_failure` to each row: the reason of the latest push that failed, or None."""
        failed = PushDelivery.failed().filter(device=OuterRef("pk")).order_by("-pk")
        return self.annotate(push_failure=Subquery(failed.values("failure")[:1]))


class Machine(models.Model):
    """A PC, as its client describes it; `device_id` is a digest of `public_key`."""

    device_id = models.CharField(max_length=32)
    public_key = models.CharField(max_length=44)
    name = models.CharField(max_length=128)
    os = models.CharField(max_length=128)
    version = models.CharField(max_length=128)
    address = models.GenericIPAddressField(null=True)

    class Meta:
        abstract = True


class Device(Machine):
    """A PC with a client that has logged in as `user`.

    `waiting_since` and `gateway` are set while the PC waits on the gateway of this name. They mean
    nothing when the gateway is dead: use `Device.objects.waiting()` or `with_presence()`.
    `login_password` and `login_valid_until` describe the password of the last login; each change
    updates them. `warned*` describe the last warning that the PC had to show.
    """

    class WarningOutcome(models.TextChoices):
        SHOWN = "shown", _("shown")
        CLICKED = "clicked", _("clicked")
        DISMISSED = "dismissed", _("closed by the user")
        SUPPRESSED = "suppressed", _("not due")
        UNSEEN = "unseen", _("not seen")
        FAILED = "failed", _("could not be shown")

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="devices")
    first_seen_at = models.DateTimeField(default=clock.now)
    last_seen_at = models.DateTimeField(default=clock.now)
    waiting_since = models.DateTimeField(null=True)
    gateway = models.CharField(max_length=64, blank=True)
    farewell = models.CharField(max_length=16, blank=True, db_default="")
    """Why the client left at `last_seen_at`: a `protocol.messages.Farewell`, or empty."""
    login_password = models.CharField(max_length=8, default="current")
    login_valid_until = models.DateTimeField(null=True)
    warned = models.CharField(max_length=16, choices=WarningOutcome.choices, blank=True)
    warned_at = models.DateTimeField(null=True)
    warned_days_left = models.PositiveIntegerField(null=True)
    blocked_at = models.DateTimeField(null=True)
    """When this PC was disconnected in the console: its client cannot log in. None if allowed."""

    is_waiting: bool
    """Set by `with_presence` only."""
    push_failure: str | None
    """Set by `with_push_failure` only."""
    is_push_pending: bool
    """Set by `with_push` only."""

    objects: ClassVar = DeviceQuerySet.as_manager()

    class Meta:
        ordering: ClassVar[list[str]] = ["name", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "device_id"], name="one_device_per_user")
        ]
        indexes: ClassVar = [
            # Conditions only test for NULL or not NULL: SQLite cannot match a condition with a
            # value, because values come apart from the statement. The condition's columns are in
            # the index, too, or SQLite would read the rows.
            models.Index(
                fields=["gateway", "user", "blocked_at", "waiting_since"],
                name="devices_that_wait",
                condition=Q(waiting_since__isnull=False),
            ),
            models.Index(
                fields=["login_valid_until", "id", "user", "login_password", "blocked_at"],
                name="devices_on_old_password",
                condition=Q(login_valid_until__isnull=False, blocked_at__isnull=True),
            ),
            models.Index(
                fields=["last_seen_at", "id", "user", "waiting_since", "blocked_at"],
                name="devices_not_waiting",
                condition=Q(waiting_since__isnull=True, blocked_at__isnull=True),
            ),
        ]


def _new_change_id() -> str:
    return uuid.uuid4().hex


class PasswordChange(models.Model):
    """One change of one user's password."""

    class Kind(models.TextChoices):
        OWN = "own", _("changed by the user")
        FORCED = "forced", _("changed by an account administrator")

    id = models.CharField(primary_key=True, max_length=32, default=_new_change_id)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="password_changes")
    changed_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    changed_at = models.DateTimeField(default=clock.now)
    old_valid_until = models.DateTimeField()
    """Until when clients may log in with the password that this change replaced."""

    class Meta:
        ordering: ClassVar[list[str]] = ["-changed_at"]


class PushDelivery(models.Model):
    """The push of one changed password to one device, and its outcome.

    `sealed` is emptied as soon as the outcome is known.
    """

    class Outcome(models.TextChoices):
        PENDING = "pending", _("on its way")
        APPLIED = "applied", _("applied")
        FAILED = "failed", _("could not be applied")
        SUPERSEDED = "superseded", _("replaced by a later change")
        EXPIRED = "expired", _("not reached in time")

    change = models.ForeignKey(PasswordChange, on_delete=models.CASCADE, related_name="deliveries")
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="deliveries")
    sealed = models.TextField(blank=True)
    pushed_at = models.DateTimeField(default=clock.now, db_default=Now())
    """When the user ordered the push: at the change, or later."""
    outcome = models.CharField(max_length=16, choices=Outcome.choices, default=Outcome.PENDING)
    outcome_at = models.DateTimeField(null=True)
    failure = models.CharField(max_length=16, blank=True)
    """The client's reason: `unreadable` or `refused` with the outcome FAILED, or `vault` while the
    outcome is still PENDING, because a locked keyring may be open at the next login."""

    class Meta:
        db_table = "console_pendingchange"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["change", "device"], name="one_delivery_per_device")
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["device"], name="pending_deliveries", condition=Q(outcome="pending")
            ),
            models.Index(fields=["failure", "outcome", "device"], name="failed_deliveries"),
        ]

    @classmethod
    def failed(cls) -> models.QuerySet[PushDelivery]:
        """Return pushes that a client could not apply and no later change has replaced."""
        outcomes = (cls.Outcome.FAILED, cls.Outcome.PENDING)
        return cls.objects.filter(failure__gt="", outcome__in=outcomes)


class Pairing(Machine):
    """A new PC that shows a code, and waits for a user's name and password.

    The PC's gateway creates and deletes the row, and polls for `sealed` while the PC waits. The
    console sets `user` and `sealed` once, when the user has typed code and password; only this PC
    can open `sealed`.
    """

    code = models.CharField(primary_key=True, max_length=8)
    expires_at = models.DateTimeField(db_index=True)
    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, related_name="pairings")
    change_id = models.CharField(max_length=32, default=_new_change_id)
    """Identifies the sealed password, as in `protocol.messages.Paired`."""
    sealed = models.TextField(blank=True)
    """The sealed password; emptied when it was sent to the PC."""
    delivered_at = models.DateTimeField(null=True)
    """When the gateway sent `sealed`; only the PC's first login shows that the PC uses it."""
    gateway = models.CharField(max_length=64, default="")
    """Name of the gateway that the PC is connected to."""

    @classmethod
    def open(cls, code: str) -> models.QuerySet[Pairing]:
        """Return the new PC that shows `code` and waits for a user, if there is one."""
        return cls.objects.filter(pk=code, user=None, expires_at__gt=clock.now())
