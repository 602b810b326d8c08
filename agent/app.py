"""The client's wiring: connects the adapters with the machine and passes users' commands on to it.

Nothing is decided here. Texts for the user are made here, because only this module knows both the
user's language and the adapters. Every call into an adapter is guarded, by `call_adapter`: what an
adapter raises is logged, and the client goes on without it.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from gettext import NullTranslations
from typing import TYPE_CHECKING

from agent import ports
from agent.address import is_console_url
from agent.answers import Answers
from agent.control import ControlChannel
from agent.core import effects as do
from agent.core import events as ev
from agent.core import wording
from agent.core.credentials import Identity
from agent.core.effects import Effect
from agent.core.events import Event, SignedIn, SignInKind
from agent.core.failure import Reason
from agent.core.machine import Machine
from agent.core.saved_state import SavedState
from agent.core.state import IN_USE, State
from agent.core.view import Command, View
from agent.errors import AgentError, Defect
from agent.host import host_info
from agent.logs import WindowsEvent
from agent.pairing import Ask, Show, log_in_by_code
from agent.ports import Topic, call_adapter
from agent.runtime import Runtime
from agent.settings import Settings
from agent.state_file import StateFile
from agent.toasts import Toasts
from protocol.messages import WarningOutcome
from protocol.names import normalise_password

if TYPE_CHECKING:
    from agent.dialogs.host import ProcessDialogs

log = logging.getLogger(__name__)

TRAY_AGAIN_S = 60.0  # seconds after which a lost tray is opened again
CLAIM_S = 120.0  # seconds to claim the channel, which a command may hold during a login


@dataclass
class Adapters:
    """The adapters of one client, each behind its port."""

    vault: ports.Vault
    saved_state: StateFile
    channel: ControlChannel
    save_identity: Callable[[Identity], None]
    tray: ports.Tray | None = None
    open_toaster: Callable[[], ports.Toaster] | None = None  # called for the first toast
    watcher: ports.SignInWatcher | None = None
    dialogs: ProcessDialogs | None = None
    on_menu_action: Callable[[Command], None] | None = None  # for commands about this PC
    with_settings: Callable[[View], View] = lambda view: view  # adds what the settings say

    @property
    def is_for_one_command(self) -> bool:
        """Return whether this client runs for one command only, because no other client runs."""
        return self.watcher is None


class App:
    """One running client: `run` blocks the main thread until it ends."""

    def __init__(
        self, settings: Settings, adapters: Adapters, translations: NullTranslations
    ) -> None:
        self._settings = settings
        self._adapters = adapters
        self._translations = translations
        self._claim: Future[None] = Future()
        self._ended = threading.Event()
        self._losses = Counter[type[Exception]]()  # how often the tray was lost, by the error
        self._unsaved = False
        self._asks_to_log_in = False
        self._pairing: Future[Reason | None] | None = None
        self.toasts = Toasts(adapters.open_toaster, self.command)
        identity = settings.identity
        saved_state = adapters.saved_state.load(identity) if identity else SavedState()
        self._runtime = Runtime(
            Machine(host_info(), identity, saved_state),
            vault=adapters.vault,
            save_state=adapters.saved_state.save,
            proxy=settings.proxy,
            moved=settings.moved,
            show=self._show,
            tell=self._tell,
            save_identity=self._save_identity,
            quit=self._quit,
        )
        self._answers = Answers(
            settings,
            self._runtime,
            look=lambda: adapters.with_settings(self._runtime.look()),
            log_in=self.log_in,
            on_command=self.command,
        )

    # --- life

    def run(
        self,
        open_tray: Callable[[], ports.Tray],
        notices: Sequence[tuple[str, str]] = (),
        *,
        ask_to_log_in: bool = False,
    ) -> None:
        """Run the client until it quits. The tray runs on this thread, the main thread.

        `notices` are shown in one toast. `ask_to_log_in` opens the log-in window when no password
        is stored. Raise ChannelBusy, before any window is made, and Defect.
        """
        self._asks_to_log_in = ask_to_log_in
        self.start()
        try:
            if notices:
                text = "\n".join(text for _, text in notices)
                self.toasts.show(Topic.SETTINGS, (notices[0][0], text), Command.SHOW_LOG)
            while not self._ended.is_set():
                self._run_tray(open_tray)
                self._ended.wait(TRAY_AGAIN_S)
        except KeyboardInterrupt:
            log.info("interrupted")
        finally:
            self.stop()
        if self._runtime.defect:
            raise Defect("the machine has raised; see the log")

    def _run_tray(self, open_tray: Callable[[], ports.Tray]) -> None:
        """Run a tray until the client ends, or until the tray is lost."""
        try:
            tray = open_tray()
            self._adapters.tray = tray
            tray.show(self.view)
            if self._ended.is_set():
                tray.stop()
            tray.run(self.command)
        except Exception as exc:
            self._losses[type(exc)] += 1
            number = self._losses[type(exc)]
            if number.bit_count() == 1:  # 1, 2, 4, 8…: a tray may be away for months
                text = f"the tray is lost, time {number}; next try in {TRAY_AGAIN_S:.0f} s"
                log.log(logging.ERROR, text, exc_info=number == 1)
        finally:
            self._adapters.tray = None

    def start(self) -> None:
        """Claim the channel and start the machine. Raise ChannelBusy or ChannelError."""
        self._runtime.start()
        self._serving = self._runtime.begin(self._serve())
        try:
            self._claim.result(timeout=CLAIM_S)
        except BaseException:
            self.stop()
            raise
        self._runtime.post(ev.Started())  # the keyring is read while the watcher makes its window
        watcher = self._adapters.watcher
        if watcher is not None:
            try:
                self._runtime.post(SignedIn(watcher.session(), SignInKind.SIGN_IN))
                watcher.start(self._on_watched)
            except Exception:
                log.exception("later sign-ins will not be noticed")

    def _on_watched(self, event: Event) -> None:
        if isinstance(event, ev.Suspending | ev.QuitRequested):
            self.end_pairing()
            self._runtime.leave(event)
        else:
            self._runtime.post(event)

    def stop(self) -> None:
        """End everything that `start` began. A second call does nothing."""
        self._runtime.post(ev.QuitRequested())
        if not self._runtime.join(timeout_s=15):
            log.error("the client's loop does not end")
        adapters = self._adapters
        if adapters.watcher is not None:
            call_adapter(adapters.watcher.stop)
        if adapters.dialogs is not None:
            call_adapter(adapters.dialogs.close)
        self.toasts.close()

    def answer(self, request: ports.Request) -> ports.Request:
        """Answer a command as the control channel does, in a client for this command only."""
        return self._runtime.begin(self._answers.answer(request)).result()

    def translate(self, translations: NullTranslations) -> None:
        self._translations = translations
        for adapter in (self._adapters.tray, self._adapters.dialogs):
            if adapter is not None:
                call_adapter(adapter.translate, translations)

    def refresh(self) -> None:
        """Show the view again. Called when the settings in it have changed."""
        self._show(self._runtime.view)

    @property
    def view(self) -> View:
        return self._adapters.with_settings(self._runtime.view)

    # --- what users want

    def log_in(
        self, server: str, user: str, password: str, device_key: str | None = None
    ) -> Future[Reason | None]:
        """Log in with a typed password and store it; the future gets None when it is stored.

        For the user who is logged in, this updates the stored password. `device_key`: a pairing's.
        """
        identity, typed = Identity(server=server, user=user), normalise_password(password)
        return self._runtime.request(lambda n: ev.LoginRequested(n, identity, typed, device_key))

    def pair(self, server: str, show: Show, ask: Ask) -> Future[Reason | None]:
        """Receive a password by a code, in place of an earlier code, and log in with it.

        The future is as for `log_in`, or has PairingFailed. Cancelling it leaves nothing behind.
        """
        work = log_in_by_code(server, self._settings, show, ask=ask, log_in=self.log_in)
        self.end_pairing()
        self._pairing = begun = self._runtime.begin(work)
        begun.add_done_callback(self._forget_pairing)
        return begun

    def end_pairing(self) -> None:
        """Cancel the pairing that is under way, if any."""
        if (pairing := self._pairing) is not None:
            pairing.cancel()

    def _forget_pairing(self, ended: Future[Reason | None]) -> None:
        """Drop the future: its exception would keep frames with the password."""
        if self._pairing is ended:
            self._pairing = None

    def command(self, command: Command) -> None:
        """Do what the user has picked from the tray. Any thread may call this. Never raise."""
        call_adapter(self._command, command)

    def _command(self, command: Command) -> None:
        match command:
            case Command.RECONNECT:
                self._runtime.post(ev.ReconnectRequested())
            case Command.QUIT:
                self._runtime.post(ev.QuitRequested())
            case Command.UPDATE_PASSWORD if self._adapters.dialogs:
                self._adapters.dialogs.ask_password()
            case Command.CHANGE_ACCOUNT if self._adapters.dialogs:
                self._adapters.dialogs.ask_password(change_account=True)
            case Command.LOG_OUT if self._adapters.dialogs:
                self._adapters.dialogs.ask_log_out()
            case Command.LOG_OUT_NOW:
                self._runtime.request(ev.LogoutRequested).add_done_callback(self._on_logged_out)
            case Command.STATUS if self._adapters.dialogs:
                self._adapters.dialogs.show_status()
            case Command.ABOUT if self._adapters.dialogs:
                self._adapters.dialogs.show_about()
            case Command.OPEN_CONSOLE | Command.DOWNLOAD:
                view, url = self.view, self.view.console_url
                if command is Command.DOWNLOAD:
                    url = view.newer.url if view.newer else None
                if url is not None and is_console_url(url):
                    import webbrowser

                    webbrowser.open(url)
            case _ if self._adapters.on_menu_action:
                self._adapters.on_menu_action(command)

    def _on_logged_out(self, reply: Future[Reason | None]) -> None:
        """Show the state after a logout, and the reason if the password could not be removed."""
        self.command(Command.STATUS)
        if (reason := reply.result()) is not None:
            texts = wording.trouble(reason, self._translations.gettext)
            self.toasts.show(Topic.ACTION, texts, Command.SHOW_LOG)

    async def _serve(self) -> None:
        channel = self._adapters.channel
        serve = channel.serve if self._adapters.is_for_one_command else channel.serve_in_turn
        try:
            await serve(self._answer, claimed=lambda: self._claim.set_result(None))
        except Exception as exc:
            if not self._claim.done():
                self._claim.set_exception(exc)
            else:
                log.exception("the control channel has ended")

    async def _answer(self, request: ports.Request) -> ports.Request:
        """Return the answer to a command, marked if this client runs for one command only."""
        answer = await self._answers.answer(request)
        return {**answer, "one_command": True} if self._adapters.is_for_one_command else answer

    # --- what the machine wants; on the loop's thread

    def _show(self, view: View) -> None:
        view = self._adapters.with_settings(view)
        if self._asks_to_log_in and view.state is not State.CONNECTING:
            self._asks_to_log_in = False
            if view.state is State.LOGGED_OUT:
                self.command(Command.UPDATE_PASSWORD)
        if (tray := self._adapters.tray) is not None:
            call_adapter(tray.show, view)
        if (dialogs := self._adapters.dialogs) is not None:
            call_adapter(dialogs.refresh, view)
        if self._settings.keep_awake and self._adapters.watcher is not None:
            call_adapter(self._adapters.watcher.keep_awake, view.state in IN_USE)

    def _quit(self) -> None:
        self._ended.set()
        if (tray := self._adapters.tray) is not None:
            call_adapter(tray.stop)

    def _save_identity(self, identity: Identity) -> None:
        """Save `identity`; notify the user of the first failure, raise each. On another thread."""
        try:
            self._adapters.save_identity(identity)
        except (OSError, AgentError):
            if not self._unsaved:
                self._unsaved = True
                texts = wording.both(wording.UNSAVED, self._translations.gettext)
                self.toasts.show(Topic.UNSAVED, texts, Command.SHOW_LOG)
            raise
        if self._unsaved:
            self._unsaved = False
            self.toasts.withdraw(Topic.UNSAVED)

    def _tell(self, effect: Effect) -> None:
        """Perform an effect about a notification or a window."""
        match effect:
            case do.ShowWarning(days, last_day):
                event = WindowsEvent.OLD_PASSWORD
                log.warning("the old password ends in %d days", days, extra=event.extra)
                texts = wording.warning(days, last_day, self._translations)
                self._ask_for_password(Topic.WARNING, texts, days)
            case do.AskForPassword(reason):
                texts = wording.password_needed(reason, self._translations.gettext)
                self._ask_for_password(Topic.PASSWORD, texts, None)
            case do.WithdrawWarning():
                for topic in (Topic.WARNING, Topic.PASSWORD):
                    self.toasts.withdraw(topic)
            case do.TellReceived():
                event = WindowsEvent.PASSWORD_RECEIVED
                log.info("the new password was received", extra=event.extra)
                texts = wording.both(wording.RECEIVED, self._translations.gettext)
                self.toasts.show(Topic.RECEIVED, texts, Command.STATUS)
            case do.OpenStatus() if self._adapters.dialogs:
                self._adapters.dialogs.show_status(quietly=True)

    def _ask_for_password(self, topic: Topic, texts: tuple[str, str], days: int | None) -> None:
        """Show a toast whose outcome the machine wants to know."""

        def on_outcome(outcome: WarningOutcome) -> None:
            self._runtime.post(ev.WarningAnswered(days, outcome))

        self.toasts.show(topic, texts, Command.UPDATE_PASSWORD, on_outcome)
