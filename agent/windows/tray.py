"""The icon on Windows: pystray, with workarounds for its defects.

All drawing runs on the thread of the message loop. Other threads set the view and post a message to
that thread. Windows itself loads the pictures. The menu is built from the newest view when it is
opened.
"""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("for Windows")

import contextlib
import ctypes
import gettext
import logging
import threading
from collections.abc import Callable
from ctypes import wintypes
from pathlib import Path
from typing import Any

import pystray
from pystray._util import win32
from pystray._win32 import Icon as PystrayIcon

from agent.core.state import State
from agent.core.view import Command, View, picture
from agent.ports import TrayError
from agent.tray_menu import SEPARATOR, Entry, default_command, menu, summary
from protocol.text import clip_utf16

log = logging.getLogger(__name__)
user32 = ctypes.WinDLL("user32", use_last_error=True)
user32.SetTimer.argtypes = (wintypes.HWND, ctypes.c_size_t, wintypes.UINT, ctypes.c_void_p)
user32.SetTimer.restype = ctypes.c_size_t
user32.KillTimer.argtypes = (wintypes.HWND, ctypes.c_size_t)
user32.FindWindowW.argtypes = (wintypes.LPCWSTR, wintypes.LPCWSTR)
user32.FindWindowW.restype = wintypes.HWND
foreground_window = user32.GetForegroundWindow
foreground_window.restype = wintypes.HWND
user32.GetDpiForWindow.argtypes = (wintypes.HWND,)
user32.GetSystemMetricsForDpi.argtypes = (ctypes.c_int, wintypes.UINT)

PROGRAM = "coconowork client"
TIP_UNITS = 127  # UTF-16 units that fit into NOTIFYICONDATAW
FIRST_RETRY_MS, LAST_RETRY_MS = 500, 30_000
ICON_ID = 1

WM_CLOSE = 0x0010
WM_QUERYENDSESSION = 0x0011
WM_ENDSESSION = 0x0016
WM_SETTINGCHANGE = 0x001A
WM_TIMER = 0x0113
WM_DPICHANGED = 0x02E0
WM_APPLY = win32.WM_USER + 20
WM_CONTEXTMENU = 0x007B
NIN_SELECT, NIN_KEYSELECT = win32.WM_USER, win32.WM_USER + 1
NOTIFYICON_VERSION_4 = 4
SM_CXSMICON = 49
RETRY_TIMER = 1


def tray_icon_size() -> int:
    """Return the side of an icon in pixels, by the DPI of the task bar's monitor."""
    taskbar = user32.FindWindowW("Shell_TrayWnd", None)
    dpi: int = user32.GetDpiForWindow(taskbar) if taskbar else 0
    size: int = user32.GetSystemMetricsForDpi(SM_CXSMICON, dpi or user32.GetDpiForSystem())
    return size or 16


class WindowsTray:
    """Implement `agent.ports.Tray`."""

    def __init__(
        self,
        assets: Path,
        translation: gettext.NullTranslations,
        with_settings: Callable[[View], View] = lambda view: view,
    ) -> None:
        """`with_settings` adds the settings to a view, when the menu is opened."""
        self.with_settings = with_settings
        self.assets = assets
        self.translation = translation
        self.view = View(State.CONNECTING)
        self._icon: _Icon | None = None
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="tray", daemon=True)
        self._failure: BaseException | None = None
        self.on_command: Callable[[Command], None] | None = None

    def start(self) -> None:
        """Show the icon from now on, on a thread of its own. Until `run`, clicks do nothing."""
        self._thread.start()

    def run(self, on_command: Callable[[Command], None]) -> None:
        """Block until `stop`. Raise TrayError when the message loop cannot be set up or dies."""
        self.on_command = on_command
        if not self._thread.ident:
            self.start()
        self._thread.join()
        if self._failure is not None:
            raise TrayError("the icon's message loop") from self._failure

    def close(self) -> None:
        """Remove the icon, also when there was no `run`."""
        self.stop()
        self._thread.join()

    def _loop(self) -> None:
        icon = self._icon = _Icon(self)
        try:
            # The set-up thread of pystray has nothing to do: this thread makes the icon.
            icon.run(setup=lambda _: None)
            self._failure = icon.failure
        except Exception as error:  # noqa: BLE001 - run() raises it
            self._failure = error
        finally:
            self._icon = None
            icon.release()

    def show(self, view: View) -> None:
        self.view = view
        self._post(WM_APPLY)

    def translate(self, translation: gettext.NullTranslations) -> None:
        self.translation = translation
        self._post(WM_APPLY)

    def stop(self) -> None:
        # _Icon._mark_ready reads `stopping` after it has made its window, so no stop is lost.
        self.stopping.set()
        self._post(win32.WM_STOP)

    def _post(self, message: int) -> None:
        icon = self._icon
        if icon is not None and icon.window:
            win32.PostMessage(icon.window, message, 0, 0)


class _Icon(PystrayIcon):  # type: ignore[misc]  # pystray has no types
    """One run of the message loop."""

    def __init__(self, tray: WindowsTray) -> None:
        super().__init__("coconowork")
        self._tray = tray
        self._menu_handle = None
        self._handles: dict[tuple[str, int], int] = {}
        self._retry_ms = FIRST_RETRY_MS
        self._in_menu = False
        self.failure: Exception | None = None
        apply = self._guarded(self._apply)
        self._message_handlers |= {
            **dict.fromkeys((WM_APPLY, WM_DPICHANGED, WM_SETTINGCHANGE), apply),
            WM_TIMER: self._guarded(self._on_timer),
            WM_CLOSE: lambda _w, _l: self._command(Command.QUIT),
            WM_QUERYENDSESSION: lambda _w, _l: 1,
            WM_ENDSESSION: self._on_end_session,
        }

    # --- the life of the loop

    @property
    def window(self) -> int | None:
        """Return the icon's window, None before it is made."""
        return self._hwnd

    def _mark_ready(self) -> None:
        super()._mark_ready()
        try:
            self._apply()
        except BaseException:
            self._running = False
            raise
        if self._tray.stopping.is_set():
            win32.PostMessage(self._hwnd, win32.WM_STOP, 0, 0)

    def _on_stop(self, wparam: int, lparam: int) -> None:
        user32.EndMenu()
        super()._on_stop(wparam, lparam)

    def _hide(self) -> None:
        self._visible = False
        self._message(win32.NIM_DELETE)

    def release(self) -> None:
        """Release the pictures, after the loop has ended."""
        self._running = False
        self._hwnd = None
        for handle in self._handles.values():
            with contextlib.suppress(OSError):
                win32.DestroyIcon(handle)
        self._handles.clear()

    def _guarded(self, work: Callable[[], None]) -> Callable[[int, int], int]:
        """Return a handler that ends the loop when `work` raises; `run` then raises TrayError."""

        def handler(_wparam: int, _lparam: int) -> int:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - run() raises it
                self.failure = error
                win32.PostQuitMessage(1)
            return 0

        return handler

    def _command(self, command: Command | None) -> None:
        if self._tray.on_command is None or command is None:
            return
        try:
            self._tray.on_command(command)
        except Exception:
            log.exception("command %s", command.value)

    def _on_end_session(self, wparam: int, _lparam: int) -> None:
        """Handle the end of the Windows session (`wparam` 1) or its cancellation (0)."""
        if wparam:
            self._hide()  # first, because Windows may end this process at any moment
            self._command(Command.QUIT)

    # --- the icon

    def _apply(self) -> None:
        if not (self._visible and self._message(win32.NIM_MODIFY, **self._look())):
            self._show()

    def _look(self) -> dict[str, Any]:
        view = self._tray.view
        lines = [PROGRAM, *summary(view, self._tray.translation)]
        return {
            "uFlags": win32.NIF_MESSAGE | win32.NIF_ICON | win32.NIF_TIP | win32.NIF_SHOWTIP,
            "uCallbackMessage": win32.WM_NOTIFY,
            "hIcon": self._handle(picture(view), tray_icon_size()),
            "szTip": clip_utf16("\n".join(lines), TIP_UNITS),
        }

    def _show(self) -> None:
        """Add the icon; try again while the task bar is not ready, as at sign-in."""
        look = self._look()
        # A late answer of the task bar counts as failure although the icon was added.
        self._visible = any(self._message(way, **look) for way in (win32.NIM_ADD, win32.NIM_MODIFY))
        if self._visible:
            self._message(win32.NIM_SETVERSION, uVersion=NOTIFYICON_VERSION_4)
            self._retry_ms = FIRST_RETRY_MS
            log.debug("the icon is shown")
        else:
            log.debug("the task bar takes no icon; next try in %d ms", self._retry_ms)
            user32.SetTimer(self._hwnd, RETRY_TIMER, self._retry_ms, None)
            self._retry_ms = min(self._retry_ms * 2, LAST_RETRY_MS)

    def _on_timer(self) -> None:
        user32.KillTimer(self._hwnd, RETRY_TIMER)
        if not self._visible:
            self._show()

    def _on_taskbarcreated(self, _wparam: int, _lparam: int) -> None:
        """Show the icon again: the task bar was restarted, without icons."""
        self._visible = False
        self._guarded(self._show)(0, 0)

    def _handle(self, picture: str, size: int) -> int:
        """Return the picture's handle, loaded once for each size."""
        if (picture, size) not in self._handles:
            self._handles[picture, size] = win32.LoadImage(
                None,
                str(self._tray.assets / f"{picture}.ico"),
                win32.IMAGE_ICON,
                size,
                size,
                win32.LR_LOADFROMFILE,
            )
        if not self._handles[picture, size]:
            raise TrayError(f"no picture {picture} of {size} px")
        return self._handles[picture, size]

    def _message(self, code: int, **fields: Any) -> bool:
        size = ctypes.sizeof(win32.NOTIFYICONDATAW)
        data = win32.NOTIFYICONDATAW(cbSize=size, hWnd=self._hwnd, uID=ICON_ID, **fields)
        return bool(win32.Shell_NotifyIcon(code, ctypes.byref(data)))

    # --- clicks

    def _update_menu(self) -> None:
        """Do nothing: the menu is made when it is opened."""

    def _on_notify(self, wparam: int, lparam: int) -> None:
        """Handle an event of NOTIFYICON_VERSION_4; `wparam` is the place on the screen."""
        if self._tray.on_command is None:
            return
        event = lparam & 0xFFFF
        if event in {NIN_SELECT, NIN_KEYSELECT}:
            self._command(default_command(self._tray.view))
        elif event == WM_CONTEXTMENU and not self._in_menu:
            self._in_menu = True
            try:
                # Signed, as GET_X_LPARAM reads them: a screen may be left of the first one.
                self._open_menu(*(ctypes.c_short(word).value for word in (wparam, wparam >> 16)))
            finally:
                self._in_menu = False

    def _open_menu(self, x: int, y: int) -> None:
        view = self._tray.with_settings(self._tray.view)
        entries = menu(view, self._tray.translation)
        descriptors: list[Callable[[PystrayIcon], None]] = []
        handle = self._create_menu(pystray.Menu(*map(self._item, entries)), descriptors)
        try:
            # Without this a click elsewhere does not close the menu (Microsoft's KB135788).
            win32.SetForegroundWindow(self._menu_hwnd)
            chosen = win32.TrackPopupMenuEx(
                handle,
                win32.TPM_RIGHTALIGN | win32.TPM_BOTTOMALIGN | win32.TPM_RETURNCMD,
                x,
                y,
                self._menu_hwnd,
                None,
            )
            win32.PostMessage(self._menu_hwnd, 0, 0, 0)
            if not chosen and foreground_window() == self._menu_hwnd:
                # Closed by Esc, and not by a click elsewhere.
                self._message(win32.NIM_SETFOCUS)
        finally:
            win32.DestroyMenu(handle)
        if chosen > 0:
            descriptors[chosen - 1](self)

    def _item(self, entry: Entry) -> Any:
        if entry is SEPARATOR:
            return pystray.Menu.SEPARATOR
        submenu = pystray.Menu(*map(self._item, entry.children)) if entry.children else None
        checked = None if entry.checked is None else lambda _: bool(entry.checked)
        return pystray.MenuItem(
            # An ampersand would underline the next letter.
            entry.text.replace("&", "&&"),
            submenu or (lambda: self._command(entry.command)),
            checked=checked,
            radio=entry.radio,
            default=entry.default,
            enabled=entry.enabled,
        )
