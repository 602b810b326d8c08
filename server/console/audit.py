"""Record the audit trail: who did what to which user, when and from where."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from server.console.models import AuditEvent, User


class Action(models.TextChoices):
    """Actions that the server records below the pages; `events.py` has those of the pages."""

    PASSWORD_CHANGED = "password.changed", _("password changed")
    PASSWORD_FORCED = "password.forced", _("password changed by an administrator")
    OLD_PASSWORDS_ENDED = "password.old_ended", _("old passwords ended early")
    PUSH_APPLIED = "push.applied", _("new password applied on a PC")
    PUSH_FAILED = "push.failed", _("new password could not be applied on a PC")
    DEVICE_ADDED = "device.added", _("a PC logged in for the first time")
    USER_CREATED = "user.created", _("user created")
    NAME_TAKEN = "name.taken", _("asked for a user name of another account")
    IMPORT_STARTED = "import.started", _("import of users started")
    IMPORT_FETCHED = "import.fetched", _("temporary passwords of an import opened")


def record(
    action: str,
    *,
    actor: User | None,
    subject: User | None,
    address: str | None,
    **detail: str | int | bool | list[str] | None,
) -> AuditEvent:
    """Write one event, inside the transaction of the action.

    `detail` must be short facts and never a password, verifier or sealed box. The event belongs
    to the account of the subject, or of the actor when there is no subject.
    """
    owner = subject or actor
    return AuditEvent.objects.create(
        account=owner.account if owner else None,
        actor=actor,
        actor_name=actor.username if actor else "",
        subject=subject,
        subject_name=subject.username if subject else "",
        action=action,
        address=address or None,
        detail=detail,
    )
