"""The icon on Linux, on pystray: StatusNotifier or GTK where PyGObject is there, else plain X11.

The X11 tray has no menu: a click does the default command. A worker thread makes every call into
pystray, because its X11 calls wait for the message loop.
"""

from __future__ import annotations

import gettext
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from agent.adapters.tray import TrayError
from agent.adapters.tray_menu import SEPARATOR, Entry, menu, summary
from agent.core.state import State
from agent.core.view import ICONS, Command, View
from agent.ports import ToastError

log = logging.getLogger(__name__)

SHORT_LIFE_S = 2.0
"""A message loop that ends by itself sooner than this is not started again."""


class LinuxTray:
    """`agent.ports.Tray`. Raise TrayError when there is no display."""

    def __init__(self, assets: Path, translation: gettext.NullTranslations) -> None:
        # Importing pystray opens the display.
        try:
            import pystray
        except Exception as error:
            raise TrayError(f"no display: {error}") from error
        self._pystray: Any = pystray
        self._assets = assets
        self._translation = translation
        self._images: dict[str, Image.Image] = {}
        self._view = View(State.CONNECTING)
        self._changed = threading.Condition()
        self._fresh = True
        self._stopping = False
        self._icon: Any = None
        self._on_command: Callable[[Command], None] = lambda _: None

    def run(self, on_command: Callable[[Command], None]) -> None:
        """Block until `stop`. Raise TrayError when the display has gone."""
        self._on_command = on_command
        while not self._stopping:
            began = time.monotonic()
            icon = self._icon = self._make_icon()
            ended = threading.Event()
            worker = threading.Thread(
                target=self._work, args=(icon, ended), name="tray", daemon=True
            )
            icon.run(setup=lambda _, worker=worker: worker.start())
            ended.set()
            with self._changed:
                self._changed.notify_all()
            # The panel that held the window may have taken it along; a new one is made then.
            if not self._stopping and time.monotonic() - began < SHORT_LIFE_S:
                raise TrayError("the icon's message loop has ended")

    def show(self, view: View) -> None:
        with self._changed:
            self._view = view
            self._fresh = True
            self._changed.notify_all()

    def translate(self, translation: gettext.NullTranslations) -> None:
        """Speak another language from now on."""
        self._translation = translation
        self.show(self._view)

    def balloon(self, title: str, text: str) -> None:
        icon = self._icon
        if icon is None or not icon.HAS_NOTIFICATION:
            raise ToastError("this tray has no balloons")
        icon.notify(text, title)

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def _work(self, icon: Any, ended: threading.Event) -> None:
        self._fresh = True
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._fresh or self._stopping or ended.is_set())
                self._fresh = False
                view = self._view
            if ended.is_set():
                return
            if self._stopping:
                icon.stop()
                return
            try:
                self._draw(icon, view)
            except Exception:
                log.exception("the icon cannot be drawn")

    def _draw(self, icon: Any, view: View) -> None:
        icon.icon = self._image(ICONS[view.state].value)
        icon.title = "\n".join(summary(view, self._translation))
        entries = menu(view, self._translation)
        icon.menu = self._pystray.Menu(*map(self._item, entries))
        icon.visible = True

    def _image(self, picture: str) -> Image.Image:
        if picture not in self._images:
            with Image.open(self._assets / f"{picture}-64.png") as image:
                self._images[picture] = image.convert("RGBA")
        return self._images[picture]

    def _item(self, entry: Entry) -> Any:
        if entry is SEPARATOR:
            return self._pystray.Menu.SEPARATOR
        action: Any = self._picked(entry.command)
        if entry.children:
            action = self._pystray.Menu(*map(self._item, entry.children))
        checked = None if entry.checked is None else lambda _: bool(entry.checked)
        return self._pystray.MenuItem(
            entry.text,
            action,
            checked=checked,
            radio=entry.radio,
            default=entry.default,
            enabled=entry.enabled,
        )

    def _picked(self, command: Command | None) -> Callable[[], None]:
        def action() -> None:
            if command is not None:
                self._on_command(command)

        return action

    def _make_icon(self) -> Any:
        factory = self._pystray.Icon
        if factory.__module__ == "pystray._xorg":
            from agent.adapters.tray_x11 import X11Icon

            factory = X11Icon
        try:
            return factory("coconowork", self._image("busy"), "coconowork client")
        except Exception as error:
            raise TrayError(f"the icon's window: {error}") from error
