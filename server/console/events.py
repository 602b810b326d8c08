"""Name the actions of people, and turn audit events into text for a person."""

from __future__ import annotations

from collections.abc import Callable

from django.db import models
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from server.console.audit import Action
from server.console.models import AuditEvent


class PageAction(models.TextChoices):
    """Actions of people on the pages, except password changes."""

    USER_DISABLED = "user.disabled", gettext_lazy("user disabled")
    USER_ENABLED = "user.enabled", gettext_lazy("user enabled")
    SESSIONS_ENDED = "sessions.ended", gettext_lazy("sessions ended")
    DEVICE_BLOCKED = "device.blocked", gettext_lazy("PC disconnected")
    DEVICE_ALLOWED = "device.allowed", gettext_lazy("PC allowed again")
    LOGIN_ACCEPTED = "login.accepted", gettext_lazy("logged in to the console")
    LOGIN_REFUSED = "login.refused", gettext_lazy("wrong password at the console")
    LOGIN_LOCKED = "login.locked", gettext_lazy("locked out after wrong passwords")


def action_choices() -> list[tuple[str, str | Promise]]:
    """Return the choices of a filter by action."""
    return [("", gettext_lazy("All")), *Action.choices, *PageAction.choices]


_labels: dict[str, str | Promise] = {**dict(Action.choices), **dict(PageAction.choices)}


def action_label(event: AuditEvent) -> str:
    """Return what happened, in the language of the page."""
    return str(_labels.get(event.action, event.action))


_failures: dict[str, str | Promise] = {
    "vault": gettext_lazy("the PC could not store it"),
    "unreadable": gettext_lazy("the PC could not open it"),
    "refused": gettext_lazy("the login with it was refused"),
}


def failure_text(reason: str) -> str:
    """Return why a client could not store a pushed password."""
    return str(_failures.get(reason, reason))


def _pushed_to(value: object) -> str:
    names = [str(name) for name in value] if isinstance(value, list) else []
    if not names:
        return _("not applied to any PC")
    return _("to be applied to %(pcs)s") % {"pcs": _(", ").join(names)}


def _must_change(value: object) -> str:
    return _("temporary password") if value else _("permanent password")


def _plain(value: object) -> str:
    return str(value)


_details: dict[str, Callable[[object], str]] = {
    "pushed_to": _pushed_to,
    "must_change": _must_change,
    "reason": lambda value: failure_text(str(value)),
    "device": _plain,
    "name": _plain,
}


def detail_text(event: AuditEvent) -> str:
    """Return the facts of an event that are of use to a person."""
    texts = (_details[key](value) for key, value in event.detail.items() if key in _details)
    return _("; ").join(text for text in texts if text)
