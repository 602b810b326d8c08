"""The texts for states, reasons and warnings, in English; `_` (gettext) translates them."""

from __future__ import annotations

from datetime import date
from gettext import NullTranslations
from math import ceil

from agent.address import Translate
from agent.core.failure import Failure, Reason
from agent.core.state import State
from agent.core.view import View
from protocol.names import MAX_PASSWORD_CHARS, is_password, normalise_password
from protocol.text import N_

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

_R = Reason
_REASONS = {
    _R.UNREACHABLE: (N_("The server cannot be reached."),
        N_("Check the network connection. The program keeps trying.")),
    _R.NO_SUCH_HOST: (N_("The server's name is not known."),
        N_("Check the network connection and the server's address.")),
    _R.TIMED_OUT: (N_("The server does not answer."),
        N_("Check the network connection. The program keeps trying.")),
    _R.CONNECTION_LOST: (N_("The connection to the server was lost."),
        N_("The program keeps trying.")),
    _R.CERTIFICATE: (N_("The server's certificate is not trusted."),
        N_("Check this PC's date and time, and ask your administrator about the certificate.")),
    _R.TLS: (N_("The server does not accept an encrypted connection at the moment."),
        N_("Check the server's address.")),
    _R.TLS_VERSION: (N_("The server and this PC have no version of TLS in common."),
        N_("Ask your administrator about the server's TLS settings.")),
    _R.PROXY_SETTING: (N_("The address in the proxy settings cannot be used."),
        N_("Correct the proxy's address, such as http://proxy.example.com:8080.")),
    _R.PROXY_UNREACHABLE: (N_("The proxy cannot be reached."), N_("Check the proxy settings.")),
    _R.PROXY_CERTIFICATE: (N_("The proxy's certificate is not trusted."),
        N_("Check this PC's date and time, and ask your administrator about the certificate.")),
    _R.PROXY_REFUSED: (N_("The proxy refuses the connection."),
        N_("Ask your administrator to allow the server's address in the proxy.")),
    _R.PROXY_LOGIN: (N_("The proxy asks for a user name and password."),
        N_("Ask your administrator how to use the proxy.")),
    _R.HTTP_UNAUTHORIZED: (N_("Something on the way asks for a login (HTTP 401)."),
        N_("Ask your administrator to check the server's address.")),
    _R.HTTP_FORBIDDEN: (N_("Access to the server is forbidden (HTTP 403)."),
        N_("Ask your administrator whether this network may use the server.")),
    _R.TOO_MANY_REQUESTS: (N_("The server gets too many requests (HTTP 429)."),
        N_("The program tries again later.")),
    _R.UNAVAILABLE: (N_("The server is not available at the moment."),
        N_("The program keeps trying.")),
    _R.NO_GATEWAY: (N_("There is no coconowork server at this address at the moment."),
        N_("Check the server's address.")),
    _R.NOT_A_GATEWAY: (N_("The answer did not come from a coconowork server."),
        N_("Sign in to the network (hotel, guest Wi-Fi) or check the server's address.")),
    _R.INSECURE_ADDRESS: (N_("The server's address is not encrypted (ws://)."),
        N_("Use an address that begins with wss://.")),
    _R.PROTOCOL: (N_("The server's answer cannot be understood."),
        N_("Ask your administrator whether this program has to be updated.")),
    _R.IMPOSTOR: (N_("The server could not prove that it knows your password."),
        N_("Do not enter your password anywhere. Tell your administrator.")),
    _R.THROTTLED: (N_("There were too many failed logins."), N_("The program tries again later.")),
    _R.DISABLED: (N_("This user is disabled."), N_("Ask your account administrator.")),
    _R.BLOCKED: (N_("This PC has been disconnected in the management console."),
        N_("Allow it again in the management console.")),
    _R.VERSION: (N_("This program is too old for the server."), N_("Update the program.")),
    _R.NO_CODES: (N_("The server does not offer codes for a new PC."),
        N_("Log in with your user name and password.")),
    _R.SUPERSEDED: (N_("The same PC is connected a second time."),
        N_("The program tries again later. A copied PC then becomes a PC of its own.")),
    _R.SHUTTING_DOWN: (N_("The server is being restarted."), N_("The program keeps trying.")),
    _R.CREDENTIALS: (N_("The user name or the password is wrong."),
        N_("Update the stored password.")),
    _R.EXPIRED: (N_("The old password is no longer valid."), N_("Update the stored password.")),
    _R.OLD_PASSWORD: (N_("This is an old password."), N_("Enter the new password.")),
    _R.BUSY: (N_("A password is being updated already."), N_("Wait a moment and try again.")),
    _R.VAULT_LOCKED: (N_("The password store of this PC is locked."),
        N_("Unlock it. The program keeps trying.")),
    _R.VAULT_MISSING: (N_("The password store of this PC is not available."),
        N_("Start it (Linux: gnome-keyring or KWallet). The program keeps trying.")),
    _R.VAULT_BROKEN: (N_("The password store of this PC has failed."),
        N_("Update the stored password. If that does not help, tell your administrator.")),
    _R.VAULT_NO_ANSWER: (N_("The password store of this PC does not answer."),
        N_("The program keeps trying. If this goes on, restart the PC.")),
    _R.INTERNAL: (N_("The program has a defect."),
        N_("Please send the log to your administrator.")),
}  # fmt: skip
"""For each reason: what is wrong, and what the user can do about it."""


FOR_A_WHILE = {
    _R.UNREACHABLE, _R.TIMED_OUT, _R.CONNECTION_LOST, _R.TOO_MANY_REQUESTS, _R.UNAVAILABLE,
    _R.THROTTLED, _R.SUPERSEDED, _R.SHUTTING_DOWN,
    _R.VAULT_LOCKED, _R.VAULT_MISSING, _R.VAULT_NO_ANSWER,
}  # fmt: skip
"""Temporary reasons: the client tries again, but does not repeat what the user asked for once."""


NO_ANSWER = (
    N_("The client does not answer."),
    N_("End the program in the task manager, or restart the PC."),
)
RECEIVED = N_("The new password was received"), N_("It is stored on this PC. You need do nothing.")
UNSAVED = (
    N_("The settings cannot be saved"),
    N_(
        "Make room on the disk, or allow the program to write to its folder. Until then you have "
        "to log in again at each start."
    ),
)
_MONTHS = N_(
    "January February March April May June July August September October November December"
)


def status(view: View, _: Translate) -> str:
    """Return the first line of menu, tooltip and status window."""
    return _(_STATES[view.state])


def days_left(view: View, translations: NullTranslations) -> list[str]:
    """Return a line on how long the old password is valid; no line while it is current."""
    left = view.days_left
    if left is None:
        return [translations.gettext("The old password has ended")] if view.valid_until else []
    if left == 0:
        return [translations.gettext("The old password ends today")]
    text = translations.ngettext(
        "The old password ends in {days} day", "The old password ends in {days} days", left
    )
    return [text.format(days=left)]


def newer(view: View, _: Translate) -> list[str]:
    """Return a line that says that a newer version is available, or no line."""
    if view.newer is None:
        return []
    return [_("A newer version is available: {version}").format(version=view.newer.version)]


def both(texts: tuple[str, str], _: Translate) -> tuple[str, str]:
    """Return title and text in the user's language."""
    return _(texts[0]), _(texts[1])


def trouble(reason: Reason, _: Translate) -> tuple[str, str]:
    """Return what is wrong and what the user can do."""
    return both(_REASONS[reason], _)


def code_trouble(failure: Failure, translations: NullTranslations) -> tuple[str, str]:
    """Return what is wrong with the pairing of this PC by a code, and what the user can do."""
    _ = translations.gettext
    if failure.reason is Reason.EXPIRED:
        return _("The code has expired."), _("Get a new code.")
    if failure.reason is Reason.THROTTLED:
        minutes = ceil((failure.retry_after_s or 0) / 60) or 1
        return _("Too many codes were asked for in this network."), translations.ngettext(
            "Try again in {minutes} minute.", "Try again in {minutes} minutes.", minutes
        ).format(minutes=minutes)
    matter, remedy = trouble(failure.reason, _)
    return matter, _("Wait a moment and try again.") if failure.reason in FOR_A_WHILE else remedy


def other_user(user: str, only_user: str, _: Translate) -> tuple[str, str]:
    """Return that `user` has typed the code, and that policy allows `only_user`."""
    matter = _("The user {user} has typed the code. Your administrator has set the user {only}.")
    remedy = _("Get a new code, and type it as the user {only}.")
    return matter.format(user=user, only=only_user), remedy.format(only=only_user)


def code_validity(minutes: int, translations: NullTranslations) -> str:
    """Return how long a code is still valid."""
    text = translations.ngettext(
        "The code is valid for {minutes} more minute.",
        "The code is valid for {minutes} more minutes.",
        minutes,
    )
    return text.format(minutes=minutes)


def code_steps(console_url: str | None, _: Translate) -> str:
    """Return how a user connects this PC by the code that it shows."""
    steps = _(
        "Open the management console or the smartphone page and choose “Add a new PC”. Type this "
        "code there, and go on only if it shows the same four words."
    )
    if console_url is None:
        return steps
    return steps + "\n" + console_url


def warning(days: int, last_day: date, translations: NullTranslations) -> tuple[str, str]:
    """Return title and text of the warning at a sign-in with an old password."""
    _ = translations.gettext
    title = _("Your coconowork password has been changed")
    if days == 0:
        return title, _("The old password ends today. Click here to update the stored password.")
    month = _(_MONTHS).split()[last_day.month - 1]
    return title, translations.ngettext(
        "The old password ends in {days} day, on {day} {month}. "
        "Click here to update the stored password.",
        "The old password ends in {days} days, on {day} {month}. "
        "Click here to update the stored password.",
        days,
    ).format(days=days, day=last_day.day, month=month)


def password_needed(reason: Reason | None, _: Translate) -> tuple[str, str]:
    """Return title and text of the notice that asks for a password. None: no password is stored."""
    if reason is None:
        return _("Password needed"), _("No password is stored. Log in, so that this PC can wait.")
    return _("Password needed"), "\n".join(trouble(reason, _))


def password_hint(typed: str, _: Translate) -> str:
    """Return what may be wrong with `typed`, or an empty text. Never quote `typed`."""
    password = normalise_password(typed)
    if password == password.strip():
        return ""
    return _("The password begins or ends with a blank.")


def password_problem(typed: str, _: Translate) -> str:
    """Return why `typed` cannot be a password, or an empty text. Never quote `typed`."""
    password = normalise_password(typed)
    if not password.strip():
        return _("Enter the password.")
    if len(password) > MAX_PASSWORD_CHARS:
        return _("This text is too long.")
    bad = [number for number, char in enumerate(password, 1) if not is_password(char)]
    text = _("Character {number} is one that no password has. Show the password and correct it.")
    return text.format(number=bad[0]) if bad else ""
