"""The wiring: builds the adapters around the machine, and passes what users want on to it.

Nothing is decided here. Texts are made here, because here both the words and the window are known.
"""

from __future__ import annotations

import asyncio
import logging
import platform
import random
import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from gettext import NullTranslations

from agent import __version__
from agent.address import is_console_url, normalise_server
from agent.core import events as ev
from agent.core import wording
from agent.core.credentials import Identity
from agent.core.events import Event, SignedIn, SignInKind
from agent.core.failure import Reason
from agent.core.host_info import HostInfo
from agent.core.machine import Machine
from agent.core.saved_state import SavedState
from agent.core.view import Command, View
from agent.errors import AgentError, UserError
from agent.ports import (
    ChannelBusy,
    ChannelError,
    ControlChannel,
    Dialogs,
    Request,
    SavedStateStore,
    SignInWatcher,
    Toaster,
    ToastError,
    Tray,
    Vault,
)
from agent.report import describe
from agent.runtime import Hooks, Runtime
from agent.settings import Settings, normalise_user
from protocol.text import clean

log = logging.getLogger(__name__)


@dataclass
class Adapters:
    """The surroundings of one client, each behind its port."""

    vault: Vault
    memory: SavedStateStore
    channel: ControlChannel
    save_identity: Callable[[Identity], None]
    tray: Tray | None = None
    toaster: Toaster | None = None
    watcher: SignInWatcher | None = None
    dialogs: Dialogs | None = None
    other_commands: Callable[[Command], None] | None = None
    """Takes the tray's commands that are about this PC, not about the client's state."""
    dress: Callable[[View], View] = lambda view: view
    """Adds to a view what the settings say."""


def surroundings() -> HostInfo:
    """What this PC calls itself."""
    return HostInfo(
        device_name=clean(socket.gethostname(), 128) or "PC",
        os=clean(f"{platform.system()} {platform.release()}", 128),
        version=__version__,
        random=random.random,
        nonce=lambda: secrets.token_urlsafe(24),
    )


class App:
    """One running client: `run` blocks the main thread until it ends."""

    def __init__(
        self, settings: Settings, adapters: Adapters, translations: NullTranslations
    ) -> None:
        self._adapters = adapters
        self._translations = translations
        self._settings = settings
        self._claim: Future[None] = Future()
        self._ended = threading.Event()
        self._unsaved = False
        identity = settings.identity
        memory = adapters.memory.load(identity) if identity else SavedState()
        self._runtime = Runtime(
            Machine(surroundings(), identity, memory),
            vault=adapters.vault,
            memory=adapters.memory,
            proxy=settings.proxy,
            hooks=Hooks(
                show=self._show,
                warn=self._warn,
                withdraw_warning=self._withdraw_warning,
                ask_for_password=self._ask_for_password,
                save_identity=self._save_identity,
                quit=self._quit,
            ),
        )
        self._runtime.accompany(self._serve)

    # --- life

    def run(self, open_tray: Callable[[], Tray], news: Sequence[tuple[str, str]] = ()) -> None:
        """Be the client until somebody quits, with the tray on this, the main thread.

        `news` are titles and texts that the user is told once the tray is there. Raise
        ChannelBusy when there is a client already, before any window is made.
        """
        self.start()
        try:
            tray = self._adapters.tray = open_tray()
            tray.show(self.view)
            for title, text in news:
                self.tell(title, text)
            if self._ended.is_set():
                tray.stop()
            tray.run(self.command)
        except KeyboardInterrupt:
            log.info("interrupted")
        finally:
            self.stop()

    def start(self) -> None:
        """Claim the channel and begin. Raise ChannelBusy or ChannelError, with nothing begun."""
        self._runtime.start()
        try:
            self._claim.result(timeout=15)
        except BaseException:
            self.stop()
            raise
        watcher = self._adapters.watcher
        if watcher is not None:
            self._runtime.post(SignedIn(watcher.session(), SignInKind.SIGN_IN))
            try:
                watcher.start(self._runtime.post)
            except AgentError as exc:
                log.warning("later sign-ins will not be noticed: %s", exc)
        self._runtime.post(ev.Started())

    def stop(self) -> None:
        """End everything that `start` began; more than once does no harm."""
        self._runtime.post(ev.QuitRequested())
        if not self._runtime.join(timeout_s=15):
            log.error("the client's loop does not end")
        if self._adapters.watcher is not None:
            self._adapters.watcher.stop()
        if self._adapters.dialogs is not None:
            self._adapters.dialogs.close()
        if self._adapters.toaster is not None:
            self._adapters.toaster.close()

    def answer(self, request: Request) -> Request:
        """What the control channel would answer; for a client that runs for one request."""
        return self._runtime.call(self._answer(request))

    def tell(self, title: str, text: str) -> None:
        """Notify the user of something."""
        self._notify(title, text, lambda _: None)

    def translate(self, translations: NullTranslations) -> None:
        """Speak another language from now on."""
        self._translations = translations
        for adapter in (self._adapters.tray, self._adapters.dialogs):
            if adapter is not None:
                adapter.translate(translations)

    def refresh(self) -> None:
        """Show the view once more: it is dressed differently now."""
        self._show(self._runtime.view)

    def post(self, event: Event) -> None:
        """Hand an event to the machine, from any thread."""
        self._runtime.post(event)

    @property
    def view(self) -> View:
        """The newest snapshot."""
        return self._adapters.dress(self._runtime.view)

    # --- what users want

    def sign_in(self, server: str, user: str, password: str) -> Future[Reason | None]:
        """Log in and keep it; with who is signed in already it updates the stored password."""
        identity = Identity(server=server, user=user)
        return self._runtime.request(lambda n: ev.LoginRequested(n, identity, password))

    def command(self, command: Command) -> None:
        """What the user picked from the tray; any thread."""
        match command:
            case Command.RECONNECT:
                self._runtime.post(ev.ReconnectRequested())
            case Command.QUIT:
                self._runtime.post(ev.QuitRequested())
            case Command.UPDATE_PASSWORD if self._adapters.dialogs:
                self._adapters.dialogs.ask_password()
            case Command.STATUS if self._adapters.dialogs:
                self._adapters.dialogs.show_status()
            case Command.OPEN_CONSOLE:
                url = self.view.console_url
                if url is not None and is_console_url(url):
                    import webbrowser

                    webbrowser.open(url)
            case _ if self._adapters.other_commands:
                self._adapters.other_commands(command)

    async def _serve(self) -> None:
        try:
            await self._adapters.channel.serve(
                self._answer, claimed=lambda: self._claim.set_result(None)
            )
        except (ChannelBusy, ChannelError) as exc:
            if not self._claim.done():
                self._claim.set_exception(exc)
            else:
                log.warning("the control channel has ended: %s", exc)

    async def _answer(self, request: Request) -> Request:
        """One command from the control channel; the answer has `ok` and, if not, `reason`."""
        command, text = request.get("command"), _text_of(request)
        match command:
            case "status":
                return {"ok": True, "status": describe(self.view)}
            case "login":
                try:
                    server = normalise_server(text("server"))
                    user = normalise_user(text("user"))
                except UserError:
                    return {"ok": False, "reason": "bad_address"}
                future = self.sign_in(server, user, text("password"))
                outcome = _outcome(await asyncio.wrap_future(future))
                await self._runtime.written()
                return {**outcome, "unsaved": True} if self._unsaved else outcome
            case "update-password":
                view = self._runtime.view
                if not view.user:
                    return {"ok": False, "reason": "logged_out"}
                future = self.sign_in(view.server, view.user, text("password"))
                return _outcome(await asyncio.wrap_future(future))
            case "logout":
                return _outcome(
                    await asyncio.wrap_future(self._runtime.request(ev.LogoutRequested))
                )
            case "reconnect":
                self._runtime.post(ev.ReconnectRequested())
            case "show":
                self.command(Command.STATUS)
            case "quit":
                asyncio.get_running_loop().call_later(0.05, self.post, ev.QuitRequested())
            case _:
                return {"ok": False, "reason": "unknown_command"}
        return {"ok": True}

    # --- what the machine wants; on the loop's thread

    def _show(self, view: View) -> None:
        view = self._adapters.dress(view)
        if self._adapters.tray is not None:
            self._adapters.tray.show(view)
        if self._adapters.dialogs is not None:
            self._adapters.dialogs.refresh(view)

    def _quit(self) -> None:
        self._ended.set()
        if self._adapters.tray is not None:
            self._adapters.tray.stop()

    def _save_identity(self, identity: Identity) -> None:
        """On the storage thread. A failure is told once, and raised."""
        try:
            self._adapters.save_identity(identity)
        except (OSError, AgentError):
            if not self._unsaved:
                self._unsaved = True
                self.tell(*wording.unsaved(self._translations.gettext))
            raise
        self._unsaved = False

    def _warn(self, days: int) -> None:
        title, text = wording.warning(days, self._translations)

        def done(error: Exception | None) -> None:
            self._runtime.post(ev.WarningFailed(days) if error else ev.WarningShown(days))

        self._notify(title, text, done)

    def _ask_for_password(self, reason: Reason) -> None:
        title, text = wording.password_needed(reason, self._translations.gettext)
        self._notify(title, text, lambda _: None)

    def _withdraw_warning(self) -> None:
        if self._adapters.toaster is not None:
            self._adapters.toaster.withdraw()

    def _notify(self, title: str, text: str, done: Callable[[Exception | None], None]) -> None:
        """By toast, else by the tray's balloon; icon and menu carry the state in any case."""

        def toast_done(error: Exception | None) -> None:
            if error is None or self._adapters.tray is None:
                done(error)
                return
            log.warning("no toast, the tray's balloon instead: %s", error)
            try:
                self._adapters.tray.balloon(title, text)
            except ToastError as balloon_error:
                log.warning("no balloon either: %s", balloon_error)
                done(balloon_error)
            else:
                done(None)

        if self._adapters.toaster is None:
            toast_done(ToastError("this desktop has no toasts"))
        else:
            self._adapters.toaster.show(
                title,
                text,
                on_done=toast_done,
                on_click=lambda: self.command(Command.UPDATE_PASSWORD),
            )


def _text_of(request: Request) -> Callable[[str], str]:
    def text(key: str) -> str:
        value = request.get(key)
        return value if isinstance(value, str) else ""

    return text


def _outcome(failure: Reason | None) -> Request:
    return {"ok": True} if failure is None else {"ok": False, "reason": failure.value}
