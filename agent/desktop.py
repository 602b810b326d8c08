"""Chooses this platform's adapters and runs the client on them. The only place that knows all."""

from __future__ import annotations

import logging
import sys
from gettext import NullTranslations
from pathlib import Path

from agent import logs
from agent.adapters.control import open_channel
from agent.adapters.memory_file import MemoryFile
from agent.adapters.vault import KeyringVault
from agent.app import Adapters, App
from agent.core.record import Identity
from agent.hardening import keep_out_of_dumps
from agent.paths import Paths
from agent.ports import Request
from agent.settings import Settings, save_identity

log = logging.getLogger(__name__)


def run(settings: Settings, paths: Paths, translations: NullTranslations) -> None:
    """Be the client, in the tray, until it quits. Raise ChannelBusy when one is running."""
    logs.set_up(paths.log_file, settings.log_level)
    keep_out_of_dumps()
    from agent.adapters.tray import open_tray

    app = App(settings, _core_adapters(paths), translations)
    app.run(lambda: open_tray(assets_dir(), translations, sys.stdout))


def run_once(
    request: Request, settings: Settings, paths: Paths, translations: NullTranslations
) -> Request:
    """Be the client for one request, without a tray. Raise ChannelBusy or ChannelError."""
    logs.set_up(paths.log_file, settings.log_level)
    keep_out_of_dumps()
    app = App(settings, _core_adapters(paths), translations)
    app.start()
    try:
        return app.answer(request)
    finally:
        app.stop()


def assets_dir() -> Path:
    """The pictures: beside the packages, in the checkout as in the frozen program."""
    return Path(__file__).resolve().parent.parent / "assets"


def _core_adapters(paths: Paths) -> Adapters:
    def remember_identity(identity: Identity) -> None:
        save_identity(paths, identity)

    return Adapters(
        vault=KeyringVault(),
        memory=MemoryFile(paths.state_dir),
        channel=open_channel(paths),
        save_identity=remember_identity,
    )
