"""pystray's X11 icon with what it leaves open closed: late trays, restarts, transparency, threads.

pystray lets any thread talk to the X server, and its message loop can sleep through what another
thread has read. Here the loop's thread makes every call, and a pipe wakes it.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError("for X11")

import contextlib
import logging
import os
import select
import threading
from collections.abc import Callable
from typing import Any

import Xlib.X
from PIL import Image
from pystray._xorg import Icon as PystrayIcon
from Xlib.ext import shape

log = logging.getLogger(__name__)


class X11Icon(PystrayIcon):  # type: ignore[misc]  # pystray has no types
    """Docks whenever a tray appears, and is cut out along its picture."""

    _systray_manager: Any
    _icon_data: Any

    def __init__(
        self,
        look: Callable[[], tuple[Image.Image, str]],
        on_click: Callable[[], None],
        stopping: threading.Event,
    ) -> None:
        image, _ = look()
        super().__init__("coconowork", image, "coconowork client")
        self._look = look
        self._on_click = on_click
        self._stopping = stopping
        self._waking, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        self._manager_atom = self._display.intern_atom("MANAGER")
        # A new tray says so in a message to whoever watches the root window's structure.
        root = self._display.screen().root
        root.change_attributes(event_mask=Xlib.X.StructureNotifyMask)
        # pystray handles clicks, but does not ask for them.
        self._window.change_attributes(
            event_mask=Xlib.X.ExposureMask | Xlib.X.StructureNotifyMask | Xlib.X.ButtonPressMask
        )
        self._message_handlers[Xlib.X.ClientMessage] = self._on_client_message

    def __del__(self) -> None:
        """Nothing: `release` has done it, where errors of a display that is gone can be borne."""

    def release(self) -> None:
        """Give everything back, after the loop has ended."""
        self._running = False
        with contextlib.suppress(Exception):
            self._display.close()
        waker, self._waker = self._waker, -1
        for end in (self._waking, waker):
            os.close(end)

    def wake(self) -> None:
        """There is something new to show, or it is time to stop; any thread."""
        # A full pipe wakes too; a closed one has nobody to wake.
        with contextlib.suppress(OSError):
            os.write(self._waker, b"!")

    # --- the loop

    def _mainloop(self) -> None:
        try:
            self._dock()
            self._redraw()
            while not self._stopping.is_set():
                if not self._take_events():
                    return
                select.select([self._display, self._waking], [], [])
                self._heed_wakers()
        except Exception:
            log.exception("the icon's message loop")
        finally:
            with contextlib.suppress(Exception):
                self._window.destroy()
                self._display.sync()

    def _heed_wakers(self) -> None:
        if select.select([self._waking], [], [], 0)[0]:
            os.read(self._waking, 4096)
            self._redraw()

    def _take_events(self) -> bool:
        """False when the panel has taken our window along as it went."""
        while self._display.pending_events():
            event = self._display.next_event()
            if event.type == Xlib.X.DestroyNotify and event.window == self._window:
                return False
            handler = self._message_handlers.get(event.type)
            if handler is not None:
                handler(event)
        return True

    def _on_button_press(self, event: Any) -> None:
        if event.detail == 1:
            try:
                self._on_click()
            except Exception:
                log.exception("the click on the icon")

    def _on_client_message(self, event: Any) -> None:
        if event.client_type == self._manager_atom:
            self._dock()

    def _on_destroy_notify(self, event: Any) -> None:
        manager = self._systray_manager
        if manager is not None and event.window.id == manager.id:
            self._systray_manager = None
            self._window.unmap()
            self._display.flush()

    # --- what is seen

    def _dock(self) -> None:
        self._dock_window()
        if not self._systray_manager:
            log.debug("there is no tray to dock in yet")

    def _redraw(self) -> None:
        self._icon, title = self._look()
        self._icon_data = None
        # The title that can hold any language; pystray sets the older one, which is Latin-1.
        name, utf8 = map(self._display.intern_atom, ("_NET_WM_NAME", "UTF8_STRING"))
        self._window.change_property(name, utf8, 8, title.encode())
        if self._systray_manager:
            self._draw()
        self._display.flush()

    def _assert_icon_data(self, width: int, height: int) -> None:
        if self._icon_data and self._icon_data.size == (width, height):
            return
        side = max(1, min(width, height))
        image = self._icon.resize((side, side), Image.Resampling.LANCZOS)
        where = ((width - side) // 2, (height - side) // 2)
        mask = Image.new("L", (width, height))
        mask.paste(image.getchannel("A"), where)
        data = Image.new("RGB", (width, height), "#808080")
        data.paste(image, where, image)
        # python-xlib calls Pillow's method by the name it once had.
        data.tostring = data.tobytes  # type: ignore[attr-defined]
        self._icon_data = data
        if self._display.has_extension("SHAPE"):
            self._cut_out(mask)

    def _cut_out(self, mask: Image.Image) -> None:
        bits = mask.point(lambda value: 255 if value >= 96 else 0).convert("1")
        bits.tostring = bits.tobytes  # type: ignore[attr-defined]
        bitmap = self._window.create_pixmap(*mask.size, 1)
        gc = bitmap.create_gc(foreground=1, background=0)
        bitmap.put_pil_image(gc, 0, 0, bits)
        self._window.shape_mask(shape.SO.Set, shape.SK.Bounding, 0, 0, bitmap)
        gc.free()
        bitmap.free()
