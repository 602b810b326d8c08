"""The toast on Windows: win10toast, with workarounds for its defects.

win10toast shows a balloon from an icon of its own and sleeps until it removes the icon, so it sees
no clicks. Here one worker thread shows one toast at a time. The sleep is replaced by a message loop
that handles clicks, the end of the balloon's time, and `withdraw`.
"""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("for Windows")

import ctypes
import importlib
import logging
import queue
import threading
import time
import types
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import win32api
import win32con
import win32event
import win32gui

from agent.ports import ToastError
from protocol.text import clip_utf16

log = logging.getLogger(__name__)

DURATION_S = 26.0
"""Seconds after which the icon, and with it the toast, is removed. The next toast waits for it."""
TITLE_UNITS, TEXT_UNITS = 63, 255
TRIES, TRY_AGAIN_S = 10, 2.0
"""At sign-in the task bar may not be ready yet."""
CLOSE_S = 10.0

CALLBACK = win32con.WM_USER + 20
NIN_BALLOONTIMEOUT = win32con.WM_USER + 4
NIN_BALLOONUSERCLICK = win32con.WM_USER + 5
NIIF_WARNING, NIIF_NOSOUND = 0x2, 0x10
SPI_GETMESSAGEDURATION = 0x2016
TOOLTIP = "coconowork client"


@dataclass(frozen=True)
class _Order:
    title: str
    text: str
    on_done: Callable[[Exception | None], None]
    on_click: Callable[[], None]


class WindowsToaster:
    """Implement `agent.ports.Toaster`. A toast withdrawn before it was shown is not reported."""

    def __init__(self, icon: Path) -> None:
        self._icon = icon
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._withdrawn = win32event.CreateEvent(None, True, False, None)
        self._lock = threading.Lock()
        self._worker: threading.Thread | None = None
        self._closed = False

    def show(
        self,
        title: str,
        text: str,
        *,
        on_done: Callable[[Exception | None], None],
        on_click: Callable[[], None],
    ) -> None:
        with self._lock:
            if self._closed:
                return
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="toast", daemon=True)
                self._worker.start()
            self._orders.put(
                _Order(
                    clip_utf16(title, TITLE_UNITS), clip_utf16(text, TEXT_UNITS), on_done, on_click
                )
            )

    def withdraw(self) -> None:
        with self._lock:
            self._drop()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._drop()
            self._orders.put(None)
            worker = self._worker
        if worker is not None:
            worker.join(CLOSE_S)

    def _drop(self) -> None:
        with suppress(queue.Empty):
            while True:
                self._orders.get_nowait()
        win32event.SetEvent(self._withdrawn)

    def _work(self) -> None:
        notifier: Any = None
        while (order := self._orders.get()) is not None:
            with self._lock:
                if not self._closed:
                    win32event.ResetEvent(self._withdrawn)
            try:
                notifier = notifier or _notifier_class()()
                self._show(notifier, order)
            except Exception as error:  # noqa: BLE001 - whatever win10toast raises
                order.on_done(ToastError(f"{type(error).__name__}: {error}"))

    def _show(self, notifier: Any, order: _Order) -> None:
        for left in range(TRIES, 0, -1):
            toast = _Toast(notifier, order, self._withdrawn)
            try:
                notifier.present(toast, str(self._icon))
            except Exception:
                if toast.shown or left == 1:
                    raise
                log.debug("the task bar takes no toast yet", exc_info=True)
                milliseconds = round(TRY_AGAIN_S * 1000)
                if win32event.WaitForSingleObject(self._withdrawn, milliseconds) == 0:
                    return
            else:
                return


class _Toast:
    """One toast on the screen, with the message loop that replaces win10toast's sleep."""

    def __init__(self, notifier: Any, order: _Order, withdrawn: Any) -> None:
        self.order = order
        self.shown = False
        self._notifier = notifier
        self._withdrawn = withdrawn
        self._over = False
        self._popped_up_at = 0.0
        self._read_s = _message_duration_s()

    def wait(self, duration_s: float) -> None:
        """Wait until the time is over, the user clicks, or the toast is withdrawn."""
        hwnd = self._notifier.hwnd
        win32gui.SetWindowLong(
            hwnd,
            win32con.GWL_WNDPROC,
            {CALLBACK: self._on_event, win32con.WM_DESTROY: self._notifier.on_destroy},
        )
        tip: Any = (hwnd, 0, win32gui.NIF_TIP, CALLBACK, 0, TOOLTIP)
        win32gui.Shell_NotifyIcon(win32gui.NIM_MODIFY, tip)
        self.shown = True
        self.order.on_done(None)
        began = self._popped_up_at = time.monotonic()
        while not self._over and (left := began + duration_s - time.monotonic()) > 0:
            what = win32event.MsgWaitForMultipleObjects(
                [self._withdrawn], False, max(1, round(left * 1000)), win32event.QS_ALLINPUT
            )
            if what == win32event.WAIT_OBJECT_0:
                return
            win32gui.PumpWaitingMessages()

    def _on_event(self, hwnd: int, _message: int, _wparam: int, lparam: int) -> int:
        if lparam & 0xFFFF in {NIN_BALLOONUSERCLICK, win32con.WM_LBUTTONUP}:
            self._over = True
            self.order.on_click()
        elif lparam & 0xFFFF == NIN_BALLOONTIMEOUT and self._time_is_over():
            self._pop_up_again(hwnd)
        return 0

    def _time_is_over(self) -> bool:
        """Return whether Windows has closed the balloon; before its time it was the user."""
        return time.monotonic() - self._popped_up_at > self._read_s - 0.5

    def _pop_up_again(self, hwnd: int) -> None:
        self._popped_up_at = time.monotonic()
        order = self.order
        flags = NIIF_WARNING | NIIF_NOSOUND
        data: Any = (hwnd, 0, win32gui.NIF_INFO, CALLBACK, 0, "", order.text, 0, order.title, flags)
        with suppress(win32gui.error):
            win32gui.Shell_NotifyIcon(win32gui.NIM_MODIFY, data)


def _message_duration_s() -> float:
    """Return for how long the user has set Windows to show notifications."""
    seconds = ctypes.c_uint(5)
    user32 = ctypes.WinDLL("user32")
    user32.SystemParametersInfoW(SPI_GETMESSAGEDURATION, 0, ctypes.byref(seconds), 0)
    return float(seconds.value or 5)


def _notifier_class() -> type[Any]:
    """Return win10toast's notifier, repaired. It is imported for the first toast only."""
    win10toast = _import_win10toast()

    original: Any = win10toast.ToastNotifier

    class Notifier(original):  # type: ignore[misc]  # it has no types
        """One toast at a time, on the thread that calls `present`."""

        def present(self, toast: _Toast, icon: str) -> None:
            """Block until the toast is gone. Raise what Windows reports when there can be none."""
            self.hwnd = 0
            win10toast.sleep = toast.wait
            try:
                self._show_toast(toast.order.title, toast.order.text, icon, DURATION_S)
            except Exception:
                self._clean_up()
                raise

        def on_destroy(self, hwnd: int, _msg: int, _wparam: int, _lparam: int) -> int:
            """Remove the icon as the original does; return a number, and do not end the thread."""
            with suppress(win32gui.error):
                data: Any = (hwnd, 0)
                win32gui.Shell_NotifyIcon(win32gui.NIM_DELETE, data)
            return 0

        def _clean_up(self) -> None:
            """Remove window and class, which would keep the next toast from being made."""
            with suppress(win32gui.error):
                if self.hwnd:
                    win32gui.DestroyWindow(self.hwnd)
            with suppress(win32gui.error):
                win32gui.UnregisterClass(self.wc.lpszClassName, win32api.GetModuleHandle(None))

    return Notifier


def _import_win10toast() -> Any:
    """Import win10toast without pkg_resources, which it needs for an unused icon only."""
    stand_in = types.ModuleType("pkg_resources")
    vars(stand_in).update(Requirement=None, resource_filename=None)
    real = sys.modules.get("pkg_resources")
    sys.modules["pkg_resources"] = stand_in
    try:
        win10toast = importlib.import_module("win10toast")
    finally:
        if real is None:
            del sys.modules["pkg_resources"]
        else:
            sys.modules["pkg_resources"] = real
    return win10toast
