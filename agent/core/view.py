"""What tray, status window and `status --json` show of the client's state."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from agent.core.failure import Reason
from agent.core.state import State
from protocol.messages import Release


class Command(Enum):
    """The commands of the tray's menu."""

    UPDATE_PASSWORD = "update_password"
    CHANGE_ACCOUNT = "change_account"  # log in as another user, or at another server
    LOG_OUT = "log_out"  # ask whether to log out
    LOG_OUT_NOW = "log_out_now"
    RECONNECT = "reconnect"
    OPEN_CONSOLE = "open_console"
    DOWNLOAD = "download"  # open the download of a newer version in the browser
    STATUS = "status"
    AUTOSTART = "autostart"  # switch the start at sign-in on or off
    SHOW_LOG = "show_log"
    SAVE_DIAGNOSTICS = "save_diagnostics"
    LANGUAGE_AUTO = "language_auto"
    LANGUAGE_JA = "language_ja"
    LANGUAGE_EN = "language_en"
    ABOUT = "about"
    QUIT = "quit"


@dataclass(frozen=True)
class View:
    """A snapshot of the client, without anything secret.

    `days_left` and `valid_until` are set while an old password is in use; `next_try_at` (by the
    PC's clock) while the client waits to try again; `reason` when something is wrong. `language` is
    the setting: `auto`, `ja` or `en`. `fixed` has the settings that the user cannot change.
    """

    state: State
    reason: Reason | None = None
    server: str = ""
    user: str = ""
    days_left: int | None = None
    valid_until: datetime | None = None
    next_try_at: datetime | None = None
    vault_problem: Reason | None = None
    console_url: str | None = None
    newer: Release | None = None  # a version of the client that is newer than this one
    autostart: bool = False
    language: str = "auto"
    allow_quit: bool = True
    fixed: frozenset[str] = frozenset()


NUMBERED_DAYS = 9  # with this number of days left, or fewer, the icon shows the number

PICTURES = {
    State.LOGGED_OUT: "attention",
    State.CONNECTING: "busy",
    State.STANDBY: "standby",
    State.STANDBY_OLD_PASSWORD: "old_password",
    State.UPDATING: "busy",
    State.RETRYING: "offline",
    State.NEEDS_PASSWORD: "attention",
    State.STOPPED: "offline",
}


def picture(view: View) -> str:
    """Return the name of the icon's picture in `agent/assets/`."""
    days = view.days_left
    if view.state is State.STANDBY_OLD_PASSWORD and days is not None and days <= NUMBERED_DAYS:
        return f"days-{days}"
    return PICTURES[view.state]
