"""The only module that knows which adapters there are. It imports little, for a fast `status`."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from gettext import NullTranslations
from typing import TYPE_CHECKING, Any

from agent import __version__, logs
from agent.paths import ASSETS, Paths
from agent.ports import Autostart, Request, SignInWatcher, Toaster, Tray, Vault
from agent.program import harden, os_name

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

    from agent.app import Adapters
    from agent.control import ControlChannel
    from agent.settings import Settings

log = logging.getLogger(__name__)


def run(
    settings: Settings,
    paths: Paths,
    translations: NullTranslations,
    notices: Sequence[tuple[str, str]] = (),
    *,
    at_sign_in: bool = False,
) -> None:
    """Run the client in the tray until it quits.

    `notices` are titles and texts, shown at the start. `at_sign_in` says that Windows
    starts the client, and not the user. Raise ChannelBusy when another client runs, and Defect.
    """
    logs.set_up(paths.log_file, settings.log_level)
    log.info("coconowork client %s starts on %s", __version__, os_name())
    harden()
    stays = not at_sign_in or settings.autostart is not False
    with _early_icon(paths, translations) if stays else nullcontext() as icon:
        _run(settings, paths, translations, notices, icon=icon, at_sign_in=at_sign_in)


def _early_icon(paths: Paths, translations: NullTranslations) -> AbstractContextManager[Any]:
    """Show Windows' icon before the rest of the client is even imported, until the block ends.

    The block gets None on Linux, and where another client runs: a second icon must not flash.
    """
    if sys.platform == "win32":
        from agent.windows.lock import is_locked
        from agent.windows.tray import WindowsTray

        if not is_locked(paths.lock_file):
            tray = WindowsTray(ASSETS, translations)
            tray.start()
            return closing(tray)
    return nullcontext()


def _run(
    settings: Settings,
    paths: Paths,
    translations: NullTranslations,
    notices: Sequence[tuple[str, str]],
    *,
    icon: Any,
    at_sign_in: bool,
) -> None:
    from agent.app import App
    from agent.core.view import Command
    from agent.dialogs.host import ProcessDialogs
    from agent.menu_actions import MenuActions, apply_autostart

    guard: AbstractContextManager[None] = nullcontext()
    autostart: Autostart | None = None
    watcher: SignInWatcher
    if sys.platform == "win32":
        from agent.windows.autostart import RunKey
        from agent.windows.event_log import EventLogHandler
        from agent.windows.guard import guarded
        from agent.windows.session_watcher import WindowsSignInWatcher

        logs.add(EventLogHandler())
        autostart, watcher = RunKey(), WindowsSignInWatcher()
        guard = guarded(start=settings.autostart is not False)
    else:
        from agent.linux.terminal import LinuxSession

        watcher = LinuxSession()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the client outlives its terminal
    for title, text in [*notices, *(("setting ignored", each) for each in settings.unknown)]:
        log.warning("%s: %s", title, text)
    apply_autostart(autostart, settings)
    if at_sign_in and settings.autostart is False:
        log.info("not started at sign-in: %s", settings.origins.get("autostart"))
        with guard:  # a guard that has started this client ends too
            return
    adapters = _core_adapters(paths)
    adapters.watcher, adapters.open_toaster = watcher, _open_toaster
    app = App(settings, adapters, translations)
    adapters.dialogs = ProcessDialogs(
        log_in=app.log_in,
        pair=app.pair,
        view=lambda: app.view,
        on_command=app.command,
        translations=translations,
        settings=settings,
    )
    actions = MenuActions(app, settings, paths, autostart, adapters)
    adapters.with_settings = actions.with_settings
    adapters.on_menu_action = actions.command
    trays = [icon] if icon else []
    for each in trays:
        each.with_settings = actions.with_settings

    def open_tray() -> Tray:
        """Return the early icon, at later calls a new one; on Linux, a tray of text lines."""
        if sys.platform == "win32":
            from agent.windows.tray import WindowsTray

            with_settings = actions.with_settings
            return trays.pop() if trays else WindowsTray(ASSETS, translations, with_settings)
        from agent.linux.terminal import TerminalTray

        return TerminalTray(logs.Console(sys.stdout), translations)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: app.command(Command.QUIT))
    with guard:
        app.run(
            open_tray,
            notices,
            ask_to_log_in=not at_sign_in and (sys.platform == "win32" or "DISPLAY" in os.environ),
        )
    log.info("coconowork client ends")


def run_once(
    request: Request, settings: Settings, paths: Paths, translations: NullTranslations
) -> Request:
    """Run the client for one request, without a tray. Raise ChannelBusy or ChannelError."""
    from agent.app import App

    logs.set_up(paths.log_file, settings.log_level, to_stderr=False)
    harden()
    app = App(settings, _core_adapters(paths), translations)
    app.start()
    try:
        return app.answer(request)
    finally:
        app.stop()


def _core_adapters(paths: Paths) -> Adapters:
    from agent.app import Adapters
    from agent.settings import save_identity
    from agent.state_file import StateFile

    return Adapters(
        vault=open_vault(),
        saved_state=StateFile(paths.state_dir),
        channel=open_channel(paths),
        save_identity=lambda identity: save_identity(paths, identity),
    )


# --- this platform's adapters


def open_channel(paths: Paths) -> ControlChannel:
    """Return the control channel, which both the client and its callers use."""
    from agent.control import ControlChannel

    if sys.platform == "win32":
        from agent.windows.control import PipeEnds

        return ControlChannel(PipeEnds(paths))
    from agent.linux.control import SocketEnds

    return ControlChannel(SocketEnds(paths))


def open_vault() -> Vault:
    """Return the vault on the platform's keyring, which the first call opens."""
    from agent.vault import KeyringVault

    return KeyringVault(open_keyring)


def open_keyring() -> KeyringBackend:
    """Return the backend of the platform's keyring. Raise NoKeyringError."""
    from keyring.errors import NoKeyringError

    try:
        if sys.platform == "win32":
            sys.modules.setdefault("win32ctypes", None)  # type: ignore[arg-type] # pywin32 is smaller
            from keyring.backends.Windows import WinVaultKeyring, missing_deps

            if missing_deps:
                raise NoKeyringError("pywin32 is missing")
            backend = WinVaultKeyring()  # type: ignore[no-untyped-call] # keyring's has no types
            # keyring's default roams with the user's profile; this password belongs to this PC.
            backend.persist = "local machine"
            return backend
        from agent.linux.secret_service import SecretServiceKeyring

        return SecretServiceKeyring()
    except ImportError as exc:
        raise NoKeyringError(f"{exc.name} is missing") from None


def _open_toaster() -> Toaster:
    """Return the platform's toaster: on Linux, lines in the terminal."""
    if sys.platform == "win32":
        from agent.windows.toast import WindowsToaster

        return WindowsToaster(ASSETS / "app.ico")
    from agent.linux.terminal import TerminalToaster

    return TerminalToaster(logs.Console(sys.stdout))
