"""Record audit events: who did what to which user, when and from where; and describe them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.db import models
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from server.cluster import bus
from server.console.models import Account, AuditEvent, User


class Action(models.TextChoices):
    """The actions that are recorded, each in the action's own transaction."""

    PASSWORD_CHANGED = "password.changed", gettext_lazy("password changed")
    PASSWORD_FORCED = "password.forced", gettext_lazy("password changed by an administrator")
    OLD_PASSWORDS_ENDED = "password.old_ended", gettext_lazy("old passwords ended early")
    PUSHED_LATER = "push.later", gettext_lazy("new password to be applied on a PC later")
    PAIRED = "pairing.accepted", gettext_lazy("code of a new PC accepted")
    CODES_LOCKED = "pairing.locked", gettext_lazy("locked out after wrong codes of new PCs")
    PUSH_APPLIED = "push.applied", gettext_lazy("new password applied on a PC")
    PUSH_FAILED = "push.failed", gettext_lazy("new password could not be applied on a PC")
    DEVICE_ADDED = "device.added", gettext_lazy("a PC logged in for the first time")
    USER_CREATED = "user.created", gettext_lazy("user created")
    NAME_TAKEN = "name.taken", gettext_lazy("asked for a user name of another account")
    IMPORT_STARTED = "import.started", gettext_lazy("import of users started")
    IMPORT_FETCHED = "import.fetched", gettext_lazy("temporary passwords of an import opened")
    ACCOUNT_RENAMED = "account.renamed", gettext_lazy("account renamed")
    USER_EDITED = "user.edited", gettext_lazy("user's name or role changed")
    USER_DELETED = "user.deleted", gettext_lazy("user deleted")
    USER_DISABLED = "user.disabled", gettext_lazy("user disabled")
    USER_ENABLED = "user.enabled", gettext_lazy("user enabled")
    SESSIONS_ENDED = "sessions.ended", gettext_lazy("sessions ended")
    DEVICE_BLOCKED = "device.blocked", gettext_lazy("PC disconnected")
    DEVICE_ALLOWED = "device.allowed", gettext_lazy("PC allowed again")
    DEVICE_REMOVED = "device.removed", gettext_lazy("PC removed")
    LOGIN_ACCEPTED = "login.accepted", gettext_lazy("logged in to the console")
    LOGIN_REFUSED = "login.refused", gettext_lazy("wrong password at the console")
    LOGIN_UNLOCKED = bus.UNLOCKED, gettext_lazy("unlocked after wrong passwords")
    LOGIN_LOCKED = "login.locked", gettext_lazy("locked out after wrong passwords")


came_from: ContextVar[str | None] = ContextVar("came_from", default=None)
"""The client's address of the current request or job; None on the command line."""


@contextmanager
def coming_from(address: str | None) -> Iterator[None]:
    """Record `address` in all events inside the context: the events of one request or job."""
    token = came_from.set(address)
    try:
        yield
    finally:
        came_from.reset(token)


def record(
    action: str,
    *,
    actor: User | None = None,
    subject: User | None = None,
    address: str | None = None,
    account: Account | None = None,
    **detail: str | int | bool | list[str] | None,
) -> AuditEvent:
    """Write one event, inside the transaction of the action.

    `detail` must be short facts and never a password, verifier or sealed box. The event belongs
    to `account`, else to the subject's account, else to the actor's. Only the gateway gives an
    `address`: elsewhere, `came_from` has it.
    """
    owner = subject or actor
    return AuditEvent.objects.create(
        account=account or (owner.account if owner else None),
        actor=actor,
        actor_name=actor.username if actor else "",
        subject=subject,
        subject_name=subject.username if subject else "",
        action=action,
        address=address or came_from.get(),
        detail=detail,
    )


def action_text(event: AuditEvent) -> str:
    """Return the event's action, in the language of the page."""
    return str(dict(Action.choices).get(event.action, event.action))


def detail_text(event: AuditEvent) -> str:
    """Return the facts of an event that help a reader, in the language of the page."""
    return _("; ").join(filter(None, (_fact(*each) for each in event.detail.items())))


def _fact(name: str, value: object) -> str:
    match name, value:
        case "pushed_to", [*pcs]:
            if not pcs:
                return _("not applied to any PC")
            return _("to be applied to %(pcs)s") % {"pcs": _(", ").join(map(str, pcs))}
        case "must_change", _:
            return _("temporary password") if value else _("permanent password")
        case "reason", _:
            return failure_text(str(value))
        case "pcs", [*pcs]:
            return _(", ").join(map(str, pcs))
        case "role", _:
            return str(dict(User.Role.choices).get(str(value), value))
        case (("device" | "pc_address" | "name" | "display_name"), _):
            return str(value)
    return ""


_failures: dict[str, str | Promise] = {
    "vault": gettext_lazy("the PC could not store it"),
    "unreadable": gettext_lazy("the PC could not open it"),
    "refused": gettext_lazy("the login with it was refused"),
}


def failure_text(reason: str) -> str:
    """Return, in the language of the page, why a client could not store a pushed password."""
    return str(_failures.get(reason, reason))
