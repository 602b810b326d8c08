"""The only module that knows which adapters there are: opens this platform's, and runs the client.

Importing it is cheap, because short commands such as `status` need little of it.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from gettext import NullTranslations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent import __version__, logs
from agent.paths import Paths
from agent.ports import (
    Autostart,
    Request,
    SignInWatcher,
    Toaster,
    Tray,
    Vault,
)
from agent.program import os_name

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

    from agent.app import Adapters
    from agent.control import ControlChannel
    from agent.core.view import View
    from agent.settings import Settings

log = logging.getLogger(__name__)


def run(
    settings: Settings,
    paths: Paths,
    translations: NullTranslations,
    vault: Vault | None = None,
    notices: Sequence[tuple[str, str]] = (),
    *,
    at_sign_in: bool = False,
) -> None:
    """Run the client in the tray until it quits.

    `notices` are titles and texts, shown to the user at the start. `at_sign_in` says that Windows
    starts it, and not the user. Raise ChannelBusy when another client runs, and Defect when the
    client has ended at a defect of its own.
    """
    from agent.hardening import harden

    logs.set_up(paths.log_file, settings.log_level)
    log.info("coconowork client %s starts on %s", __version__, os_name())
    harden()
    stays = not at_sign_in or settings.autostart is not False
    with _early_icon(paths, translations) if stays else nullcontext() as icon:
        _run(settings, paths, translations, vault, notices, icon=icon, at_sign_in=at_sign_in)


@contextmanager
def _early_icon(paths: Paths, translations: NullTranslations) -> Iterator[Any]:
    """Yield Windows' tray, with the icon shown before the rest of the client is even imported.

    Yield None on Linux, and where another client runs: a second icon must not flash.
    """
    tray = None
    if sys.platform == "win32":
        from agent.windows.lock import is_locked
        from agent.windows.tray import WindowsTray

        if not is_locked(paths.lock_file):
            tray = WindowsTray(assets_dir(), translations)
            tray.start()
    try:
        yield tray
    finally:
        if tray is not None:
            tray.close()


def _run(
    settings: Settings,
    paths: Paths,
    translations: NullTranslations,
    vault: Vault | None,
    notices: Sequence[tuple[str, str]],
    *,
    icon: Any,
    at_sign_in: bool,
) -> None:
    import asyncio

    from agent.app import App
    from agent.core.view import Command
    from agent.dialogs.host import ProcessDialogs
    from agent.menu_actions import MenuActions, apply_autostart

    if sys.platform == "win32":
        from agent.windows.event_log import EventLogHandler

        logs.add(EventLogHandler())
    for title, text in [*notices, *(("setting ignored", each) for each in settings.unknown)]:
        log.warning("%s: %s", title, text)
    autostart = open_autostart()
    apply_autostart(autostart, settings)
    if at_sign_in and settings.autostart is False:
        log.info("not started at sign-in: %s", settings.origins.get("autostart"))
        with guarded(settings):  # a guard that has started this client ends with it
            return
    assets = assets_dir()
    adapters = _core_adapters(paths, vault)
    adapters.open_toaster = lambda: open_toaster(assets)
    app = App(settings, adapters, translations)
    adapters.watcher = open_watcher()
    adapters.dialogs = ProcessDialogs(
        log_in=app.log_in,
        pair=app.pair,
        view=lambda: app.view,
        on_command=app.command,
        assets=assets,
        translations=translations,
        settings=settings,
    )

    def examine(settings: Settings, translations: NullTranslations) -> str:
        from agent import doctor

        said: list[str] = []
        examination = doctor.run(
            settings, adapters.channel, adapters.vault, translations, said.append
        )
        asyncio.run(examination)
        return "\n".join(said)

    actions = MenuActions(app, settings, paths, autostart, examine)
    adapters.with_settings = actions.with_settings
    adapters.on_menu_action = actions.command

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: app.command(Command.QUIT))
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the end of its terminal is not its own
    if icon is not None:
        icon.with_settings = actions.with_settings
    trays = [icon] if icon is not None else []
    with guarded(settings):
        app.run(
            lambda: (
                trays.pop() if trays else open_tray(assets, translations, actions.with_settings)
            ),
            notices,
            ask_to_log_in=not at_sign_in and (sys.platform == "win32" or "DISPLAY" in os.environ),
        )
    log.info("coconowork client ends")


def guarded(settings: Settings) -> AbstractContextManager[None]:
    """Return a block in which the client is started again when it dies; on Linux it is not."""
    if sys.platform == "win32":
        from agent.windows.guard import guarded

        return guarded(start=settings.autostart is not False)
    return nullcontext()


def run_once(
    request: Request, settings: Settings, paths: Paths, translations: NullTranslations
) -> Request:
    """Run the client for one request, without a tray. Raise ChannelBusy or ChannelError."""
    from agent.app import App
    from agent.hardening import harden

    logs.set_up(paths.log_file, settings.log_level, to_stderr=False)
    harden()
    app = App(settings, _core_adapters(paths), translations)
    app.start()
    try:
        return app.answer(request)
    finally:
        app.stop()


def assets_dir() -> Path:
    """Return the folder of the pictures, in the checkout and in the frozen program alike."""
    return Path(__file__).resolve().with_name("assets")


def _core_adapters(paths: Paths, vault: Vault | None = None) -> Adapters:
    from agent.app import Adapters
    from agent.settings import save_identity
    from agent.state_file import StateFile

    return Adapters(
        vault=vault or open_vault(),
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


def open_tray(
    assets: Path, translations: NullTranslations, with_settings: Callable[[View], View]
) -> Tray:
    """Return the tray: an icon on Windows, lines of text on Linux."""
    if sys.platform == "win32":
        from agent.windows.tray import WindowsTray

        return WindowsTray(assets, translations, with_settings)
    from agent.linux.terminal import Terminal, TerminalTray

    return TerminalTray(Terminal(sys.stdout), translations)


def open_toaster(assets: Path) -> Toaster:
    """Return what shows toasts: on Linux, lines in the terminal."""
    if sys.platform == "win32":
        from agent.windows.toast import WindowsToaster

        return WindowsToaster(assets / "app.ico")
    from agent.linux.terminal import Terminal, TerminalToaster

    return TerminalToaster(Terminal(sys.stdout))


def open_watcher() -> SignInWatcher:
    """Return what notices sign-ins and network changes."""
    if sys.platform == "win32":
        from agent.windows.session_watcher import WindowsSignInWatcher

        return WindowsSignInWatcher()
    from agent.linux.session import LinuxSession

    return LinuxSession()


def open_autostart() -> Autostart | None:
    """Return the switch 'start at sign-in', None on Linux."""
    if sys.platform == "win32":
        from agent.windows.autostart import RunKey

        return RunKey()
    return None
