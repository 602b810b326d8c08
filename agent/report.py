"""The client's state as `status` prints it: as JSON for programs, as text for people."""

from __future__ import annotations

import os
from gettext import NullTranslations
from typing import Any

import msgspec

from agent import __version__
from agent.core import wording
from agent.core.deadline import local_time
from agent.core.view import View


def describe(view: View) -> dict[str, Any]:
    """Return a view as JSON: enums by their values, times in UTC, None for what is not set."""
    return {
        "state": view.state.value,
        "reason": view.reason.value if view.reason else None,
        "server": view.server or None,
        "user": view.user or None,
        "days_left": view.days_left,
        "valid_until": view.valid_until.isoformat() if view.valid_until else None,
        "next_try_at": view.next_try_at.isoformat() if view.next_try_at else None,
        "vault_problem": view.vault_problem.value if view.vault_problem else None,
        "console_url": view.console_url,
        "newer": msgspec.to_builtins(view.newer),
        "version": __version__,
        "pid": os.getpid(),
    }


def view_of(status: object) -> View:
    """Return the view that `describe` was given. Raise ValueError for other data."""
    said = msgspec.convert(status, dict[str, Any])
    return msgspec.convert({key: each for key, each in said.items() if each is not None}, View)


def status_text(view: View, translations: NullTranslations) -> str:
    """Return a few lines for a terminal or a small window, with times in the PC's time zone."""
    _ = translations.gettext
    lines = [wording.status(view, _)]
    if view.user:
        lines.append(_("{user} on {server}").format(user=view.user, server=view.server))
    lines.extend(wording.days_left(view, translations))
    for reason in (view.reason, view.vault_problem):
        if reason is not None:
            lines.extend(wording.trouble(reason, _))
    if view.next_try_at is not None:
        when = local_time(view.next_try_at).strftime("%H:%M:%S")
        lines.append(_("Next try at {time}").format(time=when))
    if view.newer is not None:
        lines.extend(f"{line} ({view.newer.url})" for line in wording.newer(view, _))
    return "\n".join(dict.fromkeys(lines))
