"""pystray's X11 icon with what it leaves open closed: late trays, restarts, transparency."""

from __future__ import annotations

import logging
import threading
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

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._manager_atom = self._display.intern_atom("MANAGER")
        root = self._display.screen().root
        # A new tray says so in a message to whoever watches the root window's structure.
        root.change_attributes(event_mask=Xlib.X.StructureNotifyMask)
        self._dispatch = self._message_handlers[Xlib.X.ClientMessage]
        self._message_handlers[Xlib.X.ClientMessage] = self._on_client_message

    def _mark_ready(self) -> None:
        # pystray sets it later than the set-up thread may need it.
        self._thread = threading.current_thread()
        super()._mark_ready()

    def _show(self) -> None:
        self._dock()

    def _update_icon(self) -> None:
        self._icon_data = None
        if self._systray_manager or self._dock():
            self._draw()
        self._icon_valid = True

    def _update_title(self) -> None:
        """As the property that holds any language; the older one is Latin-1 only."""
        name, utf8 = map(self._display.intern_atom, ("_NET_WM_NAME", "UTF8_STRING"))
        self._window.change_property(name, utf8, 8, self.title.encode())

    def _dock(self) -> bool:
        self._dock_window()
        if not self._systray_manager:
            log.debug("there is no tray to dock in yet")
        return bool(self._systray_manager)

    def _on_client_message(self, event: Any) -> None:
        if event.client_type == self._manager_atom:
            self._dock()
        else:
            self._dispatch(event)

    def _on_destroy_notify(self, event: Any) -> None:
        manager = self._systray_manager
        if manager is not None and event.window.id == manager.id:
            self._systray_manager = None
            self._window.unmap()
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
