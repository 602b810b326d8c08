"""Start the windows of `agent.dialogs`, each in a process of its own, and answer them.

Typed passwords come over a pipe; no secret is in an argument or in the environment.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from functools import partial
from gettext import NullTranslations

from agent import __version__
from agent.address import Translate, normalise_server
from agent.core import wording
from agent.core.deadline import local_time
from agent.core.failure import Reason
from agent.core.state import MAY_LOG_OUT, MAY_RECONNECT, State
from agent.core.view import Command, View, picture
from agent.dialogs import messages as msg
from agent.dialogs.pairing import CodeAttempts, Pair
from agent.dialogs.process import WindowProcess
from agent.errors import UserError
from agent.program import program
from agent.settings import Settings, normalise_user
from agent.tray_menu import may_change_account

log = logging.getLogger(__name__)

SUBMIT_S = 120.0  # seconds that a window waits for a login, with key derivation and keyring

_ABOUT_SERVER = {
    Reason.UNREACHABLE, Reason.NO_SUCH_HOST, Reason.TIMED_OUT, Reason.CERTIFICATE, Reason.TLS,
    Reason.NO_GATEWAY, Reason.NOT_A_GATEWAY, Reason.INSECURE_ADDRESS, Reason.HTTP_FORBIDDEN,
}  # fmt: skip
"""Reasons that the field of the server shows."""
_SAYS_ALL = {Reason.CREDENTIALS, Reason.EXPIRED}  # reasons whose remedy the window itself asks for


@dataclass(kw_only=True)
class ProcessDialogs:
    """The windows, one at a time. Every method may be called on any thread."""

    log_in: Callable[[str, str, str], Future[Reason | None]]  # takes server, user and password
    pair: Pair
    view: Callable[[], View]  # returns the newest snapshot
    on_command: Callable[[Command], None]
    translations: NullTranslations
    settings: Settings  # what the first log-in suggests, or fixes
    start: list[str] | None = None  # the command that starts the client; None: `program()`
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _open: WindowProcess | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)

    def ask_password(self, *, change_account: bool = False) -> None:
        """Open 'update the stored password', or 'log in' for another account or without a user."""
        view = self.view()
        first = change_account or view.state is State.LOGGED_OUT or not view.user
        _ = self.translations.gettext
        opening = msg.Open(
            server=shown_server(view.server or self.settings.server or ""),
            user=view.user or self.settings.user or "",
            first=first,
            fixed=sorted(self.settings.enforced),
            notes=wording.days_left(view, self.translations),
            console_url=view.console_url,
            rows=[] if first else [*self._account(view), *self._until(view)],
        )
        self._show("password", opening)

    def show_status(self, *, quietly: bool = False) -> None:
        """Open the small status window; `quietly`: without taking the keyboard focus."""
        snapshot = self._snapshot(self.view())
        self._show("status", msg.Open(snapshot=snapshot, quiet=quietly))

    def ask_log_out(self) -> None:
        _, view = self.translations.gettext, self.view()
        snapshot = msg.Snapshot(
            picture="attention",
            headline=_("Log out"),
            lines=[_("The stored password is removed, and this PC can no longer be reached.")],
            rows=self._account(view),
            buttons=[msg.Button(_("Log &out"), Command.LOG_OUT_NOW.value)],
        )
        self._show("log_out", msg.Open(snapshot=snapshot))

    def show_about(self) -> None:
        _, view = self.translations.gettext, self.view()
        snapshot = msg.Snapshot(
            picture="app",
            headline="coconowork client",
            title=_("About coconowork client"),
            lines=[_("Keeps this PC reachable through coconowork.")],
            rows=[(_("Version"), __version__), *self._account(view)],
        )
        self._show("about", msg.Open(snapshot=snapshot))

    def refresh(self, view: View) -> None:
        """Show `view` in an open status window."""
        with self._lock:
            shown = self._open
        if shown is not None and shown.name == "status":
            shown.send(msg.Update(self._snapshot(view)))

    def translate(self, translations: NullTranslations) -> None:
        self.translations = translations

    def close(self) -> None:
        with self._lock:
            self._closed = True
            shown, self._open = self._open, None
        if shown is not None:
            shown.close()

    # --- one at a time

    def _show(self, name: msg.Name, opening: msg.Open) -> None:
        """Open a window, in place of another one. The password window is never replaced."""
        with self._lock:
            shown = self._open
            if self._closed:
                return
            if shown is not None and shown.alive and shown.name in {name, "password"}:
                if not opening.quiet:
                    shown.send(msg.Front())
                return
            codes = CodeAttempts(self.pair, _refused, self.translations)
            answer = partial(self._answer, first=opening.first, codes=codes)
            try:
                command = [*(self.start or program()), "dialog", name]
                self._open = WindowProcess(name, command, answer, on_closed=codes.end)
            except OSError:
                log.exception("the window %s cannot be opened", name)
                return
            codes.send = self._open.send
            self._open.send(opening)
        if shown is not None:
            shown.hang_up()

    def _answer(
        self, message: msg.FromDialog, *, first: bool, codes: CodeAttempts
    ) -> msg.FromClient | None:
        match message:
            case msg.Submit():
                return self._submit(message, first=first)
            case msg.AskCode(server) if first:
                try:
                    codes.begin(self._chosen_server(server))
                except UserError as error:
                    return msg.Refused(error.message, "server")
            case msg.Confirm():
                codes.confirm()
            case msg.DropCode():
                codes.end()
            case msg.Picked(command):
                with contextlib.suppress(ValueError):
                    self.on_command(Command(command))
            case _:
                log.error("the window asks for what it does not offer")
        return None

    def _submit(self, message: msg.Submit, *, first: bool) -> msg.FromClient:
        _, view = self.translations.gettext, self.view()
        server, user = view.server, view.user
        # The window to update the password cannot change user or server.
        if first or view.state is State.LOGGED_OUT or not user:
            at: msg.Field = "server"
            try:
                server = self._chosen_server(message.server)
                at = "user"
                user = self.settings.only_user or normalise_user(message.user, _)
            except UserError as error:
                return msg.Refused(error.message, at)
        try:
            reason = self.log_in(server, user, message.password).result(SUBMIT_S)
        except (TimeoutError, CancelledError):  # the latter: the client is ending
            reason = Reason.TIMED_OUT
        return msg.Accepted() if reason is None else _refused(reason, _)

    def _chosen_server(self, typed: str) -> str:
        """Return the server that policy sets, else the typed one. Raise UserError."""
        server = normalise_server(typed, self.translations.gettext)
        return self.settings.only_server or server

    # --- in words

    def _account(self, view: View) -> list[tuple[str, str]]:
        _ = self.translations.gettext
        rows = [(_("Server"), shown_server(view.server)), (_("User name"), view.user)]
        return rows if view.user else []

    def _until(self, view: View) -> list[tuple[str, str]]:
        if view.days_left is None or view.valid_until is None:
            return []
        _, local = self.translations.gettext, local_time(view.valid_until)
        date = _("{year}-{month:02}-{day:02}").format(
            year=local.year, month=local.month, day=local.day
        )
        until = _("works until {date} {time}").format(date=date, time=f"{local:%H:%M}")
        return [(_("Old password"), until)]

    def _snapshot(self, view: View) -> msg.Snapshot:
        _ = self.translations.gettext
        reasons = [reason for reason in (view.reason, view.vault_problem) if reason is not None]
        rows = [*self._account(view), *self._until(view)]
        if view.next_try_at is not None:
            rows.append((_("Next try"), f"{local_time(view.next_try_at):%H:%M:%S}"))
        if view.newer is not None:
            rows += [(_("This version"), __version__), (_("Download"), view.newer.url)]
        logged_out = view.state is State.LOGGED_OUT
        update = _("&Log in…") if logged_out else _("&Update the stored password…")
        return msg.Snapshot(
            picture=picture(view),
            headline=wording.status(view, _),
            notes=wording.days_left(view, self.translations),
            lines=[
                *("\n".join(wording.trouble(reason, _)) for reason in reasons),
                *wording.newer(view, _),
            ],
            rows=rows,
            buttons=[
                msg.Button(update, Command.UPDATE_PASSWORD.value),
                msg.Button(
                    _("&Change the user or server…"),
                    Command.CHANGE_ACCOUNT.value,
                    may_change_account(view),
                ),
                msg.Button(_("Log &out…"), Command.LOG_OUT.value, view.state in MAY_LOG_OUT),
                msg.Button(_("&Reconnect"), Command.RECONNECT.value, view.state in MAY_RECONNECT),
            ],
        )


def _refused(reason: Reason, _: Translate) -> msg.Refused:
    """Return why a password was not stored, and the field that shows it."""
    matter, remedy = wording.trouble(reason, _)
    sentences = [matter, _("Nothing was changed.")]
    if reason in wording.FOR_A_WHILE:
        sentences.append(_("Wait a moment and try again."))
    elif reason not in _SAYS_ALL:
        sentences.append(remedy)
    at: msg.Field = "server" if reason in _ABOUT_SERVER else "password"
    return msg.Refused("\n".join(sentences), "user" if reason is Reason.DISABLED else at)


def shown_server(address: str) -> str:
    """Return an address as a person would type it, without scheme and default path."""
    return address.removeprefix("wss://").removesuffix("/gateway")
