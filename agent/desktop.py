"""Chooses this platform's adapters and runs the client on them. The only place that knows all."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Sequence
from gettext import NullTranslations
from pathlib import Path

from agent import logs
from agent.app import Adapters, App
from agent.autostart import open_autostart
from agent.control import open_channel
from agent.core.credentials import Identity
from agent.core.view import Command
from agent.dialogs.host import ProcessDialogs
from agent.hardening import harden
from agent.housekeeping import Housekeeping
from agent.paths import Paths
from agent.ports import Request, SignInWatcher, Toaster, Tray, Vault
from agent.settings import Settings, save_identity
from agent.state_file import StateFile
from agent.tray import open_tray

log = logging.getLogger(__name__)


def run(
    settings: Settings,
    paths: Paths,
    translations: NullTranslations,
    vault: Vault,
    news: Sequence[tuple[str, str]] = (),
) -> None:
    """Be the client, in the tray, until it quits. Raise ChannelBusy when one is running.

    `news` are titles and texts that the user is told once the tray is there.
    """
    logs.set_up(paths.log_file, settings.log_level)
    for title, text in news:
        log.warning("%s: %s", title, text)
    harden()
    assets = assets_dir()
    adapters = _core_adapters(paths, vault)
    app = App(settings, adapters, translations)
    adapters.watcher = _open_watcher()
    adapters.toaster = _open_toaster(assets, translations)
    adapters.dialogs = ProcessDialogs(
        sign_in=app.sign_in,
        view=lambda: app.view,
        on_command=app.command,
        assets=assets,
        translations=translations,
        server=settings.server or "",
    )
    housekeeping = Housekeeping(
        settings,
        paths,
        open_autostart(),
        view=lambda: app.view,
        about=adapters.dialogs.show_about,
        tell=app.tell,
        translate=app.translate,
        on_change=app.refresh,
    )
    adapters.dress = housekeeping.dress
    adapters.other_commands = housekeeping.command
    housekeeping.apply_autostart()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: app.command(Command.QUIT))

    def open_own_tray() -> Tray:
        return open_tray(assets, translations, sys.stdout)

    app.run(open_own_tray, news)


def run_once(
    request: Request, settings: Settings, paths: Paths, translations: NullTranslations
) -> Request:
    """Be the client for one request, without a tray. Raise ChannelBusy or ChannelError."""
    logs.set_up(paths.log_file, settings.log_level, to_stderr=False)
    harden()
    from agent.vault import KeyringVault

    app = App(settings, _core_adapters(paths, KeyringVault()), translations)
    app.start()
    try:
        return app.answer(request)
    finally:
        app.stop()


def assets_dir() -> Path:
    """Return the folder of the pictures, in the checkout and in the frozen program alike."""
    return Path(__file__).resolve().with_name("assets")


def _core_adapters(paths: Paths, vault: Vault) -> Adapters:
    def remember_identity(identity: Identity) -> None:
        save_identity(paths, identity)

    return Adapters(
        vault=vault,
        memory=StateFile(paths.state_dir),
        channel=open_channel(paths),
        save_identity=remember_identity,
    )


def _open_watcher() -> SignInWatcher:
    if sys.platform == "win32":
        from agent.windows.session_watcher import WindowsSignInWatcher

        return WindowsSignInWatcher()
    from agent.linux.session_watcher import LogindWatcher

    return LogindWatcher()


def _open_toaster(assets: Path, translations: NullTranslations) -> Toaster:
    from agent.toast_late import LateToaster

    def make() -> Toaster:
        if sys.platform == "win32":
            from agent.windows.toast import WindowsToaster

            return WindowsToaster(assets / "app.ico")
        from agent.linux.toast import NotificationToaster

        return NotificationToaster(
            translations.gettext("Update the stored password…"), assets / "app-64.png"
        )

    return LateToaster(make)
