"""The icon in the notification area, on pystray; without a display, lines of text instead."""

from __future__ import annotations

import gettext
import logging
import os
import sys
from pathlib import Path
from typing import TextIO

from agent.errors import AgentError
from agent.ports import Tray

log = logging.getLogger(__name__)


class TrayError(AgentError):
    """There can be no icon."""


def open_tray(assets: Path, translation: gettext.NullTranslations, stream: TextIO) -> Tray:
    """The tray of this desktop; where there is no display, one that writes to `stream`."""
    try:
        return icon_tray(assets, translation)
    except TrayError as error:
        log.info("no icon: %s", error)
        from agent.linux.tray_terminal import TerminalTray

        return TerminalTray(stream, translation)


def icon_tray(assets: Path, translation: gettext.NullTranslations) -> Tray:
    """The tray of this desktop, with the pictures in `assets`. Raise TrayError."""
    if sys.platform == "win32":
        from agent.windows.tray import WindowsTray

        return WindowsTray(assets, translation)
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        raise TrayError("no DISPLAY")
    from agent.linux.tray import LinuxTray

    return LinuxTray(assets, translation)
