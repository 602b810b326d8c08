"""The icon in an X11 system tray. It has no menu there: a click does the default command.

One thread makes every call to the X server; others leave a view and wake it.
"""

from __future__ import annotations

import gettext
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from agent.core.state import State
from agent.core.view import ICONS, Command, View
from agent.ports import ToastError
from agent.tray import TrayError
from agent.tray_menu import default_command, summary

log = logging.getLogger(__name__)

SHORT_LIFE_S = 2.0
"""A message loop that ends by itself sooner than this is not started again."""


class LinuxTray:
    """`agent.ports.Tray`. Raise TrayError when there is no display."""

    def __init__(self, assets: Path, translation: gettext.NullTranslations) -> None:
        # Importing pystray opens the display.
        try:
            from agent.linux.tray_x11 import X11Icon
        except Exception as error:
            raise TrayError(f"no display: {error}") from error
        self._factory = X11Icon
        self._assets = assets
        self._translation = translation
        self._images: dict[str, Image.Image] = {}
        self._view = View(State.CONNECTING)
        self._icon: X11Icon | None = None
        self._stopping = threading.Event()

    def run(self, on_command: Callable[[Command], None]) -> None:
        """Block until `stop`. Raise TrayError when the display has gone."""
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                icon = self._factory(
                    self._look, lambda: on_command(default_command(self._view)), self._stopping
                )
            except Exception as error:
                raise TrayError(f"the icon's window: {error}") from error
            self._icon = icon
            try:
                icon.run(setup=lambda _: None)
            finally:
                self._icon = None
                icon.release()
            # The panel that held the window may have taken it along; a new one is made then.
            if not self._stopping.is_set() and time.monotonic() - began < SHORT_LIFE_S:
                raise TrayError("the icon's message loop has ended")

    def show(self, view: View) -> None:
        self._view = view
        self._wake()

    def translate(self, translation: gettext.NullTranslations) -> None:
        """Speak another language from now on."""
        self._translation = translation
        self._wake()

    def balloon(self, title: str, text: str) -> None:  # noqa: ARG002 - the port's
        raise ToastError("an X11 tray has no balloons")

    def stop(self) -> None:
        self._stopping.set()
        self._wake()

    def _wake(self) -> None:
        icon = self._icon
        if icon is not None:
            icon.wake()

    def _look(self) -> tuple[Image.Image, str]:
        """The newest view's picture and title."""
        view = self._view
        picture = ICONS[view.state].value
        if picture not in self._images:
            with Image.open(self._assets / f"{picture}-64.png") as image:
                self._images[picture] = image.convert("RGBA")
        return self._images[picture], "\n".join(summary(view, self._translation))
