"""Define the tables: accounts, users, passwords, devices, changes, pushes, pairings, audit events.

No row ever holds a password: `User.password` and `RetiredPassword.verifier` are SCRAM verifiers,
and only one device can open `PushDelivery.sealed` or `Pairing.sealed`. `passwords.py` says in which
order rows are locked.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import ClassVar, Self

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.hashers import check_password
from django.db import models, transaction
from django.db.models import Case, Exists, OuterRef, Q, Subquery, Value, When
from django.db.models.functions import Now
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _

from protocol.names import is_name, normalise_name
from server import clock, config
from server.console.hashers import format_verifier, hash_in_turn
from server.console.search import MAX_CHARS, SearchField

DEAD_AFTER = timedelta(seconds=45)
"""A gateway without a heartbeat for so long is dead; its clients do not count as waiting."""


class Account(models.Model):
    """A customer: the organisation that users belong to."""

    name = models.CharField(_("account name"), max_length=150, unique=True)
    created_at = models.DateTimeField(default=clock.now)


class UserManager(BaseUserManager["User"]):
    """Find users the way they type their names."""

    def get_by_natural_key(self, username: str | None) -> User:
        """Return the user of a typed name. Raise User.DoesNotExist."""
        name = normalise_name(username or "")
        if not is_name(name):  # no query: PostgreSQL takes no NUL, and a name has 64 characters
            raise User.DoesNotExist
        return self.get(username=name)


class User(AbstractBaseUser):
    """A person: general user or account administrator.

    `password` is the verifier of the current password, in the format of `hashers.py`.
    """

    class Role(models.TextChoices):
        GENERAL = "general", _("general user")
        ADMINISTRATOR = "administrator", _("account administrator")

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="users")
    password = models.CharField(_("password"), max_length=256)
    username = models.CharField(_("user name"), max_length=64, unique=True)
    """As clients send it: always the result of `normalise_name`."""
    display_name = models.CharField(_("name"), max_length=150, blank=True)
    search = SearchField(max_length=MAX_CHARS, editable=False, db_default="")
    role = models.CharField(max_length=16, choices=Role.choices, default=Role.GENERAL)
    is_active = models.BooleanField(_("enabled"), default=True)
    must_change_password = models.BooleanField(_("temporary password"), default=False)
    password_changed_at = models.DateTimeField(default=clock.now)
    session_epoch = models.PositiveIntegerField(default=0)
    """Raised to end all of the user's sessions."""
    created_at = models.DateTimeField(default=clock.now)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "username"

    class Meta:
        ordering: ClassVar[list[str]] = ["username"]
        indexes: ClassVar = [
            # What a search reads, and what is skipped before a late page.
            models.Index(fields=["account", "username", "search"], name="users_by_name"),
            # Whether a PC counts in an account's figures.
            models.Index(fields=["id", "account", "is_active"], name="users_by_account"),
        ]

    @property
    def temporary_until(self) -> datetime | None:
        """Return the end of a temporary password, or None for a password of the user's own."""
        return temporary_until(self.password_changed_at) if self.must_change_password else None

    @property
    def is_administrator(self) -> bool:
        return self.role == self.Role.ADMINISTRATOR

    def check_password(self, raw_password: str | None) -> bool:
        """Return whether it is the current password; if so, raise its verifier's rounds."""
        return check_password(raw_password, self.password, self._raise_iterations)

    def _raise_iterations(self, raw_password: str) -> None:
        """Hash with today's rounds, unless an old password still shares the salt."""
        if retired_still_valid(self, at=clock.now()).exists():
            return
        verifier = format_verifier(hash_in_turn(raw_password))
        with transaction.atomic():
            row = User.objects.select_for_update(no_key=True).get(pk=self.pk)
            if row.password != self.password or retired_still_valid(row, at=clock.now()).exists():
                return
            row.retired_passwords.all().delete()
            row.password = verifier
            row.save(update_fields=["password"])
        self.password = verifier

    def get_session_auth_hash(self) -> str:
        """Return what a session must hold: it changes with the password and with the epoch."""
        return salted_hmac(
            "coconowork.session", f"{self.password}:{self.session_epoch}", algorithm="sha256"
        ).hexdigest()


class RetiredPassword(models.Model):
    """A password before the current one. Clients may log in with it until `valid_until`.

    Its verifier has the same salt and iteration count as the user's current one. The row stays
    a while after its end, so that a client can be told `expired` rather than `credentials`.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="retired_passwords")
    verifier = models.CharField(max_length=256)
    since = models.DateTimeField()
    """`User.password_changed_at` while it was the current one: names it among the user's."""
    retired_at = models.DateTimeField(default=clock.now)
    valid_until = models.DateTimeField()

    class Meta:
        ordering: ClassVar[list[str]] = ["-retired_at", "-id"]
        indexes: ClassVar = [models.Index(fields=["user", "-valid_until"])]


class Gateway(models.Model):
    """A gateway that runs, or was killed; `heartbeat.py` keeps the rows.

    Times are the database's own, so the clocks of the gateways need not agree.
    """

    name = models.CharField(primary_key=True, max_length=64)
    incarnation = models.CharField(max_length=32)
    """Differs between two starts under one name."""
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    """The last heartbeat."""


class DeviceQuerySet(models.QuerySet["Device"]):
    """Find devices by what the console says of them.

    One waits when it has a connection to a gateway that is alive.
    """

    @staticmethod
    def waits() -> Q:
        """Return the condition that a client waits at this moment."""
        return Q(waiting_since__isnull=False, gateway__in=live_gateways())

    @staticmethod
    def is_on_old_password() -> Q:
        """Return the condition that the last login used an old password, perhaps ended since."""
        return Q(login_password="old", login_valid_until__isnull=False)

    def waiting(self) -> Self:
        """Return those whose client waits at this moment."""
        return self.filter(self.waits())

    def reachable(self) -> Self:
        """Return those that a push could reach at this moment."""
        return self.waiting().filter(blocked_at__isnull=True)

    def on_old_password(self) -> Self:
        """Return those without the current password, as far as the server knows."""
        return self.filter(self.is_on_old_password())

    def may_take_push(self) -> Self:
        """Return those that a push would bring from a valid old password to the current one."""
        return self.on_old_password().filter(
            blocked_at__isnull=True, login_valid_until__gt=clock.now()
        )

    def with_presence(self) -> Self:
        """Add `is_waiting` to each row."""
        return self.annotate(
            is_waiting=Case(When(self.waits(), then=Value(True)), default=Value(False))
        )

    def with_push(self) -> Self:
        """Add `is_push_pending` to each row, whether a password is on its way, and the failure."""
        pending = PushDelivery.objects.filter(
            device=OuterRef("pk"), outcome=PushDelivery.Outcome.PENDING, failure=""
        )
        return self.annotate(is_push_pending=Exists(pending)).with_push_failure()

    def with_push_failure(self) -> Self:
        """Add `push_failure` to each row: the reason of the latest push that failed, or None."""
        failed = PushDelivery.failed().filter(device=OuterRef("pk")).order_by("-pk")
        return self.annotate(push_failure=Subquery(failed.values("failure")[:1]))


class Device(models.Model):
    """A PC with a client that has logged in as `user`.

    `waiting_since` and `gateway` are set while it waits on the gateway of that name. They mean
    nothing once that gateway is dead: ask `Device.objects.waiting()` or `with_presence()`.
    `login_password` and `login_valid_until` describe the password of its last login; each change
    updates them. `warned_*` are about the last warning that it had to show.
    """

    class WarningOutcome(models.TextChoices):
        SHOWN = "shown", _("shown")
        CLICKED = "clicked", _("clicked")
        DISMISSED = "dismissed", _("closed by the user")
        SUPPRESSED = "suppressed", _("not due")
        UNSEEN = "unseen", _("not seen")
        FAILED = "failed", _("could not be shown")

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="devices")
    device_id = models.CharField(max_length=32)
    public_key = models.CharField(max_length=44)
    name = models.CharField(max_length=128)
    os = models.CharField(max_length=128)
    version = models.CharField(max_length=128)
    address = models.GenericIPAddressField(null=True)
    first_seen_at = models.DateTimeField(default=clock.now)
    last_seen_at = models.DateTimeField(default=clock.now)
    waiting_since = models.DateTimeField(null=True)
    gateway = models.CharField(max_length=64, blank=True)
    farewell = models.CharField(max_length=16, blank=True, db_default="")
    """Why its client has left at `last_seen_at`: a `protocol.messages.Farewell`, or empty."""
    login_password = models.CharField(max_length=8, default="current")
    login_valid_until = models.DateTimeField(null=True)
    warned = models.CharField(max_length=16, choices=WarningOutcome.choices, blank=True)
    warned_at = models.DateTimeField(null=True)
    warned_days_left = models.PositiveIntegerField(null=True)
    blocked_at = models.DateTimeField(null=True)
    """When this PC was disconnected in the console; since then its client may not log in."""

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
            # Conditions only ask for NULL or not NULL: SQLite cannot match a condition with a
            # value, because it gets values apart from the statement. It also needs the columns of
            # the condition in the index, or it reads the rows.
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
    """How long clients may go on with the password that this change replaced."""

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
    """When the user asked for it: at the change, or later."""
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
        """Return pushes that a client could not apply, the last ones of their PCs."""
        outcomes = (cls.Outcome.FAILED, cls.Outcome.PENDING)
        return cls.objects.filter(failure__gt="", outcome__in=outcomes)


class Pairing(models.Model):
    """A new PC that shows a code, and waits for a user's name and password.

    The gateway that the PC is connected to makes and deletes the row, and asks for `sealed` while
    the PC waits. The console fills in `user` and `sealed` once, when the user has typed code and
    password; only this PC can open `sealed`.
    """

    code = models.CharField(primary_key=True, max_length=8)
    device_id = models.CharField(max_length=32)
    public_key = models.CharField(max_length=44)
    name = models.CharField(max_length=128)
    os = models.CharField(max_length=128)
    version = models.CharField(max_length=128)
    address = models.GenericIPAddressField(null=True)
    expires_at = models.DateTimeField(db_index=True)
    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, related_name="pairings")
    change_id = models.CharField(max_length=32, default=_new_change_id)
    """Names what is sealed, as in `protocol.messages.Paired`."""
    sealed = models.TextField(blank=True)
    """Emptied when the PC has got it."""
    delivered_at = models.DateTimeField(null=True)
    """When the gateway sent it. That the PC uses it, its first login shows."""
    gateway = models.CharField(max_length=64, default="")
    """Name of the gateway that the PC is connected to."""

    @classmethod
    def open(cls, code: str) -> models.QuerySet[Pairing]:
        """Return the new PC that shows `code` and waits for a user, if there is one."""
        return cls.objects.filter(pk=code, user=None, expires_at__gt=clock.now())


class AuditEvent(models.Model):
    """Who did what to which user, when and from where, written in the transaction of the action.

    Names are kept beside the references, so that the trail outlives the rows. `detail` holds
    short facts (device names, outcomes), never a password, verifier or sealed box.
    """

    at = models.DateTimeField(default=clock.now)
    account = models.ForeignKey(Account, on_delete=models.CASCADE, null=True, related_name="+")
    actor = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    actor_name = models.CharField(max_length=64, blank=True)
    subject = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    subject_name = models.CharField(max_length=64, blank=True)
    action = models.CharField(max_length=48)
    address = models.GenericIPAddressField(null=True)
    detail = models.JSONField(default=dict)

    class Meta:
        ordering: ClassVar[list[str]] = ["-at", "-id"]
        indexes: ClassVar = [
            models.Index(fields=["account", "-at", "-id"], name="events_of_account"),
            models.Index(fields=["subject", "-at"]),
        ]


class FormResult(models.Model):
    """The answer to a form, for a browser that sends the form again (`resubmission.py`)."""

    digest = models.CharField(primary_key=True, max_length=64)
    at = models.DateTimeField(auto_now_add=True)
    sealed = models.BinaryField(null=True)
    """NULL while the first request is being worked on."""


class ImportJob(models.Model):
    """The import of one CSV file (`importing.py`)."""

    started_by = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    started_at = models.DateTimeField(default=clock.now)
    address = models.GenericIPAddressField(null=True)
    language = models.CharField(max_length=8)
    """Of the page that it was started on: errors are in this language."""
    public_key = models.CharField(max_length=44)
    """X25519, in base64. The private key is not in the database."""
    worker = models.CharField(max_length=16, blank=True)
    leased_until = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    fetched_at = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(
                fields=["leased_until"],
                name="unfinished_imports",
                condition=Q(finished_at__isnull=True),
            )
        ]


class ImportLine(models.Model):
    """One line of an imported file. Done without an error, it has made or changed a user."""

    job = models.ForeignKey(ImportJob, on_delete=models.CASCADE, related_name="lines")
    number = models.PositiveIntegerField()
    username = models.CharField(max_length=80)
    display_name = models.CharField(max_length=150, blank=True)
    role = models.CharField(max_length=16, blank=True)
    done = models.BooleanField(default=False)
    error = models.TextField(blank=True)
    sealed = models.BinaryField(null=True)
    """The temporary password in a sealed box, until it is fetched."""

    class Meta:
        indexes: ClassVar = [models.Index(fields=["job", "done", "number"], name="lines_of_import")]


class ServerSecret(models.Model):
    """A key of this installation that is made once, such as the one behind made-up salts."""

    name = models.CharField(primary_key=True, max_length=32)
    value = models.BinaryField(max_length=64)
    created_at = models.DateTimeField(default=clock.now)


def temporary_until(changed_at: datetime) -> datetime:
    """Return the end of a temporary password that was set at `changed_at`."""
    return changed_at + timedelta(days=config.current().temporary_password_days)


def retired_still_valid(user: User, *, at: datetime) -> models.QuerySet[RetiredPassword]:
    """Return the user's old passwords that clients may still use at `at`."""
    return user.retired_passwords.filter(valid_until__gt=at)


def live_gateways() -> models.QuerySet[Gateway, str]:
    """Return the names of the gateways that are alive, for a subquery."""
    return Gateway.objects.filter(seen_at__gt=Now() - DEAD_AFTER).values_list("name", flat=True)
