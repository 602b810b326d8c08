"""The entries of the tray's menu and the text of its tooltip, made from a view."""

from __future__ import annotations

from dataclasses import dataclass
from gettext import NullTranslations
from typing import Literal

from agent.core import wording
from agent.core.state import MAY_LOG_OUT, MAY_RECONNECT, State
from agent.core.view import Command, View

LANGUAGES: dict[Command, tuple[Literal["auto", "ja", "en"], str | None]] = {
    Command.LANGUAGE_AUTO: ("auto", None),
    Command.LANGUAGE_JA: ("ja", "日本語"),
    Command.LANGUAGE_EN: ("en", "English"),
}
"""Commands, each with its setting and the language's name in that language."""


@dataclass(frozen=True)
class Entry:
    """A line of the menu. `checked` is None for a line without a check mark."""

    text: str
    command: Command | None = None
    enabled: bool = True
    checked: bool | None = None
    radio: bool = False
    default: bool = False
    children: tuple[Entry, ...] = ()


SEPARATOR = Entry("")


def may_change_account(view: View) -> bool:
    """Return whether the user may log in as another user or at another server."""
    return view.state in MAY_LOG_OUT and not {"server", "user"} <= view.fixed


def default_command(view: View) -> Command:
    """Return what a click on the icon does."""
    needs_password = view.state in {State.LOGGED_OUT, State.NEEDS_PASSWORD}
    return Command.UPDATE_PASSWORD if needs_password else Command.STATUS


def summary(view: View, translation: NullTranslations) -> list[str]:
    """Return lines with the state, the days left and the reason, if there are any."""
    _ = translation.gettext
    lines = [wording.status(view, _), *wording.days_left(view, translation)]
    if view.reason is not None:
        lines.append(wording.trouble(view.reason, _)[0])
    return lines


def menu(view: View, translation: NullTranslations) -> tuple[Entry, ...]:
    """Return the whole menu, top to bottom."""
    _ = translation.gettext
    default = default_command(view)
    first, *others = summary(view, translation)
    entries = [
        Entry(first, Command.STATUS, default=default is Command.STATUS),
        *(Entry(line, enabled=False) for line in others),
        *(Entry(line, Command.DOWNLOAD) for line in wording.newer(view, _)),
        SEPARATOR,
        Entry(
            _("Log in…") if view.state is State.LOGGED_OUT else _("Update the stored password…"),
            Command.UPDATE_PASSWORD,
            default=default is Command.UPDATE_PASSWORD,
        ),
        Entry(
            _("Change the user or server…"),
            Command.CHANGE_ACCOUNT,
            enabled=may_change_account(view),
        ),
        Entry(_("Log out…"), Command.LOG_OUT, enabled=view.state in MAY_LOG_OUT),
        Entry(_("Reconnect"), Command.RECONNECT, enabled=view.state in MAY_RECONNECT),
        Entry(
            _("Open the management console"),
            Command.OPEN_CONSOLE,
            enabled=view.console_url is not None,
        ),
        SEPARATOR,
        Entry(
            _("Start at sign-in"),
            Command.AUTOSTART,
            enabled="autostart" not in view.fixed,
            checked=view.autostart,
        ),
        Entry(
            _("Language"),
            children=tuple(
                Entry(
                    name or _("Same as the system"),
                    command,
                    enabled="language" not in view.fixed,
                    checked=view.language == setting,
                    radio=True,
                )
                for command, (setting, name) in LANGUAGES.items()
            ),
        ),
        Entry(_("Show the log"), Command.SHOW_LOG),
        Entry(_("Save diagnostics…"), Command.SAVE_DIAGNOSTICS),
        Entry(_("About"), Command.ABOUT),
    ]
    if view.allow_quit:
        entries += [SEPARATOR, Entry(_("Quit"), Command.QUIT)]
    return tuple(entries)
