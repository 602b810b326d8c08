"""Accounts, users, and the old passwords of users."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.hashers import check_password
from django.db import models, transaction
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _

from protocol.names import is_name, normalise_name
from server import clock, config
from server.console.hashers import format_verifier, hash_in_turn
from server.console.search import MAX_CHARS, SearchField


class Account(models.Model):
    """A customer: the organisation that users belong to."""

    name = models.CharField(_("account name"), max_length=150, unique=True)
    created_at = models.DateTimeField(default=clock.now)


class UserManager(BaseUserManager["User"]):
    """Find users by their names as people type them."""

    def get_by_natural_key(self, username: str | None) -> User:
        """Return the user of a typed name. Raise User.DoesNotExist."""
        name = normalise_name(username or "")
        if not is_name(name):  # no query: PostgreSQL refuses NUL, and such a name has no user
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
    """The user name as clients send it, normalised by `normalise_name`."""
    display_name = models.CharField(_("name"), max_length=150, blank=True)
    search = SearchField(max_length=MAX_CHARS, editable=False, db_default="")
    role = models.CharField(max_length=16, choices=Role.choices, default=Role.GENERAL)
    is_active = models.BooleanField(_("enabled"), default=True)
    must_change_password = models.BooleanField(_("temporary password"), default=False)
    password_changed_at = models.DateTimeField(default=clock.now)
    session_epoch = models.PositiveIntegerField(default=0)
    """Increased to end all of the user's sessions."""
    created_at = models.DateTimeField(default=clock.now)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "username"

    class Meta:
        ordering: ClassVar[list[str]] = ["username"]
        indexes: ClassVar = [
            # For searches, and for the rows to skip before a late page.
            models.Index(fields=["account", "username", "search"], name="users_by_name"),
            # For deciding whether a PC counts in an account's figures.
            models.Index(fields=["id", "account", "is_active"], name="users_by_account"),
        ]

    @property
    def temporary_until(self) -> datetime | None:
        """Return when a temporary password expires, or None for a permanent one."""
        return temporary_until(self.password_changed_at) if self.must_change_password else None

    @property
    def is_administrator(self) -> bool:
        return self.role == self.Role.ADMINISTRATOR

    def check_password(self, raw_password: str | None) -> bool:
        """Return whether this is the current password; if so, raise its verifier's rounds."""
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
        """Return the hash that a session must hold, made of the verifier and `session_epoch`."""
        return salted_hmac(
            "coconowork.session", f"{self.password}:{self.session_epoch}", algorithm="sha256"
        ).hexdigest()


class RetiredPassword(models.Model):
    """An old password. Clients may log in with it until `valid_until`.

    Its verifier has the salt and iteration count of the user's current one. The row stays a while
    after `valid_until`, so that the gateway can answer `expired` instead of `credentials`.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="retired_passwords")
    verifier = models.CharField(max_length=256)
    since = models.DateTimeField()
    """When the password was set (then `User.password_changed_at`); identifies the password."""
    retired_at = models.DateTimeField(default=clock.now)
    valid_until = models.DateTimeField()

    class Meta:
        ordering: ClassVar[list[str]] = ["-retired_at", "-id"]
        indexes: ClassVar = [models.Index(fields=["user", "-valid_until"])]


def temporary_until(changed_at: datetime) -> datetime:
    """Return when a temporary password that was set at `changed_at` expires."""
    return changed_at + timedelta(days=config.current().temporary_password_days)


def retired_still_valid(user: User, *, at: datetime) -> models.QuerySet[RetiredPassword]:
    """Return the user's old passwords with which clients may log in at the time `at`."""
    return user.retired_passwords.filter(valid_until__gt=at)
