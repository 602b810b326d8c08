"""The audit trail, answers to forms, imports, and keys of the installation."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from server import clock
from server.console.models.people import Account, User


class AuditEvent(models.Model):
    """Who did what to which user, when and from where, written in the transaction of the action.

    Names are stored beside the references, because events outlive users. `detail` holds
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
    """The language of the page that started the job, and so of its errors."""
    public_key = models.CharField(max_length=44)
    """An X25519 key in base64. The private key is not in the database."""
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
    """One line of an imported file. If done without an error, it has made or changed a user."""

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
    """A secret value of this installation, such as the one for salts of unknown users."""

    name = models.CharField(primary_key=True, max_length=32)
    value = models.BinaryField(max_length=64)
    created_at = models.DateTimeField(default=clock.now)
