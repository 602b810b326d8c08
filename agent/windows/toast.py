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
import threading
import time
import types
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import win32api
import win32con
import win32event
import win32gui

from agent.ports import Notification, ToastError, Topic
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
    notification: Notification
    """With texts that fit."""
    on_done: Callable[[Exception | None], None]


class WindowsToaster:
    """Implement `agent.ports.Toaster`. A toast withdrawn before it was shown is not reported."""

    def __init__(self, icon: Path) -> None:
        self._icon = icon
        self._orders: list[_Order] = []
        self._shown: Topic | None = None
        """The topic of the toast on the screen."""
        self._withdrawn = win32event.CreateEvent(None, True, False, None)
        self._changed = threading.Condition()
        self._worker: threading.Thread | None = None
        self._closed = False

    def show(
        self, notification: Notification, *, on_done: Callable[[Exception | None], None]
    ) -> None:
        fitting = replace(
            notification,
            title=clip_utf16(notification.title, TITLE_UNITS),
            text=clip_utf16(notification.text, TEXT_UNITS),
        )
        with self._changed:
            if self._closed:
                return
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="toast", daemon=True)
                self._worker.start()
            self._orders.append(_Order(fitting, on_done))
            self._changed.notify()

    def withdraw(self, topic: Topic) -> None:
        with self._changed:
            self._orders = [each for each in self._orders if each.notification.topic is not topic]
            if self._shown is topic:
                win32event.SetEvent(self._withdrawn)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            win32event.SetEvent(self._withdrawn)
            self._changed.notify()
            worker = self._worker
        if worker is not None:
            worker.join(CLOSE_S)

    def _next(self) -> _Order | None:
        """Wait for the next toast to show; return None at the end."""
        with self._changed:
            self._shown = None
            self._changed.wait_for(lambda: self._orders or self._closed)
            if self._closed:
                return None
            win32event.ResetEvent(self._withdrawn)
            order = self._orders.pop(0)
            self._shown = order.notification.topic
            return order

    def _work(self) -> None:
        notifier: Any = None
        while (order := self._next()) is not None:
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
            self.order.notification.on_click()
        elif lparam & 0xFFFF == NIN_BALLOONTIMEOUT and self._time_is_over():
            if self.order.notification.topic is Topic.RECEIVED:
                self._over = True
            else:
                self._pop_up_again(hwnd)
        return 0

    def _time_is_over(self) -> bool:
        """Return whether Windows has closed the balloon; before its time it was the user."""
        return time.monotonic() - self._popped_up_at > self._read_s - 0.5

    def _pop_up_again(self, hwnd: int) -> None:
        self._popped_up_at = time.monotonic()
        what = self.order.notification
        flags = NIIF_WARNING | NIIF_NOSOUND
        data: Any = (hwnd, 0, win32gui.NIF_INFO, CALLBACK, 0, "", what.text, 0, what.title, flags)
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
                what = toast.order.notification
                self._show_toast(what.title, what.text, icon, DURATION_S)
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
