"""States, reasons and warnings in words. English is the msgid; `_` translates (gettext's).

Each reason has two texts: what is the matter, and what the user can do about it.
"""

from __future__ import annotations

from collections.abc import Callable
from gettext import NullTranslations

from agent.core.failure import Reason
from agent.core.state import State
from agent.core.view import View
from protocol.text import N_

Translate = Callable[[str], str]


_STATES = {
    State.LOGGED_OUT: N_("Not logged in"),
    State.CONNECTING: N_("Connecting…"),
    State.STANDBY: N_("Waiting for connections"),
    State.STANDBY_OLD_PASSWORD: N_("Waiting for connections (old password)"),
    State.UPDATING: N_("Updating the password…"),
    State.RETRYING: N_("Not connected"),
    State.NEEDS_PASSWORD: N_("Password needed"),
    State.STOPPED: N_("Stopped"),
}

_REASONS: dict[Reason, tuple[str, str]] = {
    Reason.UNREACHABLE: (
        N_("The server cannot be reached."),
        N_("Check the network connection. The program keeps trying."),
    ),
    Reason.NO_SUCH_HOST: (
        N_("The server's name is not known."),
        N_("Check the network connection and the server's address."),
    ),
    Reason.TIMED_OUT: (
        N_("The server does not answer."),
        N_("Check the network connection. The program keeps trying."),
    ),
    Reason.CONNECTION_LOST: (
        N_("The connection to the server was lost."),
        N_("The program keeps trying."),
    ),
    Reason.CERTIFICATE: (
        N_("The server's certificate is not trusted."),
        N_("Check this PC's date and time, and ask your administrator about the certificate."),
    ),
    Reason.PROXY_UNREACHABLE: (
        N_("The proxy cannot be reached."),
        N_("Check the proxy settings."),
    ),
    Reason.PROXY_REFUSED: (
        N_("The proxy refuses the connection."),
        N_("Ask your administrator to allow the server's address in the proxy."),
    ),
    Reason.PROXY_LOGIN: (
        N_("The proxy asks for a user name and password."),
        N_("Ask your administrator how to use the proxy."),
    ),
    Reason.HTTP_UNAUTHORIZED: (
        N_("Something on the way asks for a login (HTTP 401)."),
        N_("Ask your administrator to check the server's address."),
    ),
    Reason.HTTP_FORBIDDEN: (
        N_("Access to the server is forbidden (HTTP 403)."),
        N_("Ask your administrator whether this network may use the server."),
    ),
    Reason.TOO_MANY_REQUESTS: (
        N_("The server gets too many requests (HTTP 429)."),
        N_("The program tries again later."),
    ),
    Reason.UNAVAILABLE: (
        N_("The server is not available at the moment."),
        N_("The program keeps trying."),
    ),
    Reason.NOT_A_GATEWAY: (
        N_("The answer did not come from a coconowork server."),
        N_("Sign in to the network (hotel, guest Wi-Fi) or check the server's address."),
    ),
    Reason.INSECURE_ADDRESS: (
        N_("The server's address is not encrypted (ws://)."),
        N_("Use an address that begins with wss://."),
    ),
    Reason.PROTOCOL: (
        N_("The server's answer cannot be understood."),
        N_("Ask your administrator whether this program has to be updated."),
    ),
    Reason.IMPOSTOR: (
        N_("The server could not prove that it knows your password."),
        N_("Do not enter your password anywhere. Tell your administrator."),
    ),
    Reason.THROTTLED: (
        N_("There were too many failed logins."),
        N_("The program tries again later."),
    ),
    Reason.DISABLED: (
        N_("This user is disabled."),
        N_("Ask your account administrator."),
    ),
    Reason.BLOCKED: (
        N_("This PC has been disconnected in the management console."),
        N_("Allow it again in the management console."),
    ),
    Reason.VERSION: (
        N_("This program is too old for the server."),
        N_("Update the program."),
    ),
    Reason.SUPERSEDED: (
        N_("The same PC is connected a second time."),
        N_("Close the other program. This one tries again later."),
    ),
    Reason.SHUTTING_DOWN: (
        N_("The server is being restarted."),
        N_("The program keeps trying."),
    ),
    Reason.CREDENTIALS: (
        N_("The user name or the password is wrong."),
        N_("Update the stored password."),
    ),
    Reason.EXPIRED: (
        N_("The old password is no longer valid."),
        N_("Update the stored password."),
    ),
    Reason.OLD_PASSWORD: (
        N_("This is an old password."),
        N_("Enter the new password."),
    ),
    Reason.BUSY: (
        N_("A password is being updated already."),
        N_("Wait a moment and try again."),
    ),
    Reason.VAULT_LOCKED: (
        N_("The password store of this PC is locked."),
        N_("Unlock it. The program keeps trying."),
    ),
    Reason.VAULT_MISSING: (
        N_("The password store of this PC is not available."),
        N_("Start it (Linux: gnome-keyring or KWallet). The program keeps trying."),
    ),
    Reason.VAULT_BROKEN: (
        N_("The password store of this PC has failed."),
        N_("Update the stored password. If that does not help, tell your administrator."),
    ),
    Reason.VAULT_NO_ANSWER: (
        N_("The password store of this PC does not answer."),
        N_("The program keeps trying. If this goes on, restart the PC."),
    ),
    Reason.INTERNAL: (
        N_("The program has a defect."),
        N_("Please send the log to your administrator."),
    ),
}


def status(view: View, _: Translate) -> str:
    """Return the first line of menu, tooltip and status window."""
    return _(_STATES[view.state])


def days_left(view: View, translations: NullTranslations) -> str | None:
    """How long the old password is still good; None when it is not old."""
    left = view.days_left
    if left is None:
        return None
    if left == 0:
        return translations.gettext("The old password ends today")
    return translations.ngettext(
        "The old password ends in {days} day", "The old password ends in {days} days", left
    ).format(days=left)


def trouble(reason: Reason, _: Translate) -> tuple[str, str]:
    """Return what is wrong and what the user can do."""
    matter, remedy = _REASONS[reason]
    return _(matter), _(remedy)


def warning(days: int, translations: NullTranslations) -> tuple[str, str]:
    """Title and text of the toast at a sign-in with an old password."""
    title = translations.gettext("Your password has been changed")
    if days == 0:
        return title, translations.gettext(
            "The old password becomes invalid today. Please update the stored password."
        )
    return title, translations.ngettext(
        "The old password becomes invalid in {days} day. Please update the stored password.",
        "The old password becomes invalid in {days} days. Please update the stored password.",
        days,
    ).format(days=days)


def password_needed(reason: Reason, _: Translate) -> tuple[str, str]:
    """Title and text of the notice that the client waits for its user."""
    matter, remedy = trouble(reason, _)
    return _("Password needed"), f"{matter} {remedy}"


def unsaved(_: Translate) -> tuple[str, str]:
    """Title and text of the notice that the settings do not know who is signed in."""
    return _("The settings cannot be saved"), _(
        "Make room on the disk, or allow the program to write to its folder. Until then you have "
        "to log in again at each start."
    )
