"""The toast on Windows: win10toast, with workarounds for its defects.

win10toast shows a balloon from an icon of its own, sleeps, and removes the icon. It sees nothing of
what happens to the balloon. Here each toast has a thread, and a message loop in place of the sleep:
the loop reports the task bar's events of the balloon, and keeps the icon, because Windows removes
the toast with the icon. docs/windows.md has the events, and Microsoft's pages about them.
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
from contextlib import suppress
from ctypes import wintypes
from pathlib import Path
from typing import Any, Never

import win32con
import win32event
import win32gui

from agent.ports import OnOutcome, Topic
from protocol.messages import WarningOutcome
from protocol.text import clip_utf16

log = logging.getLogger(__name__)

STAY_S, BRIEF_STAY_S = 3600.0, 30.0  # seconds until the icon, and with it the toast, is removed
BRIEF = {Topic.RECEIVED, Topic.ACTION}  # topics whose toasts may go unread
COUNTED = {Topic.WARNING, Topic.PASSWORD}
"""Topics whose toasts count only when the user has seen them, and are sent again until then."""
TITLE_UNITS, TEXT_UNITS = 63, 255
TRY_AGAIN_S = 2.0  # at sign-in the task bar may not be ready yet
LOOK_EACH_S, LOOK_FOR_S = 0.5, 60.0
CLOSE_S = 10.0

WINDOW_CLASS = "PythonTaskbar"
CALLBACK = win32con.WM_USER + 20
NIIF_WARNING, NIIF_RESPECT_QUIET_TIME = 0x2, 0x80
SPI_GETMESSAGEDURATION = 0x2016
QUNS_ACCEPTS_NOTIFICATIONS, QUNS_APP = 5, 7
TOOLTIP = "coconowork client"

user32 = ctypes.WinDLL("user32")
user32.FindWindowExW.argtypes = (wintypes.HWND, wintypes.HWND, wintypes.LPCWSTR, wintypes.LPCWSTR)
user32.FindWindowExW.restype = wintypes.HWND
user32.SendMessageTimeoutW.argtypes = (
    wintypes.HWND, wintypes.UINT, wintypes.WPARAM, wintypes.LPVOID,
    wintypes.UINT, wintypes.UINT, wintypes.LPVOID,
)  # fmt: skip
query_notification_state = ctypes.WinDLL("shell32").SHQueryUserNotificationState
_current = threading.local()  # `toast` is the toast of this thread


class Nin:
    """The events of a balloon, as Windows names them."""

    BALLOONSHOW = win32con.WM_USER + 2
    BALLOONHIDE = win32con.WM_USER + 3
    BALLOONTIMEOUT = win32con.WM_USER + 4
    BALLOONUSERCLICK = win32con.WM_USER + 5


class WindowsToaster:
    """Implement `agent.ports.Toaster`."""

    def __init__(self, icon: Path) -> None:
        self._icon = icon
        self._lock = threading.Lock()
        self._toasts: dict[Topic, _Toast] = {}  # the newest toast about each topic
        self._closed = False

    def show(self, topic: Topic, title: str, text: str, on_outcome: OnOutcome) -> None:
        toast = _Toast(topic, (title, text), on_outcome, self._icon)
        with self._lock:
            if self._closed:
                return
            before = self._toasts.get(topic)
            self._toasts[topic] = toast
            toast.thread.start()
        if before is not None:
            before.withdraw()

    def withdraw(self, topic: Topic) -> None:
        with self._lock:
            if (toast := self._toasts.get(topic)) is not None:
                toast.withdraw()

    def close(self) -> None:
        with self._lock:
            self._closed = True
        for toast in self._toasts.values():
            toast.withdraw()
        for toast in self._toasts.values():
            toast.thread.join(CLOSE_S)


class _NoTaskBar(Exception):
    """The task bar has not taken the icon or the balloon."""


class _Over(Exception):
    """Raised out of win10toast when the toast is over."""


class _Toast:
    """One toast, from the first try to its end."""

    def __init__(
        self, topic: Topic, texts: tuple[str, str], on_outcome: OnOutcome, icon: Path
    ) -> None:
        self.thread = threading.Thread(target=self._run, name="toast", daemon=True)
        self._topic, self._icon, self._on_outcome = topic, icon, on_outcome
        self._title, self._text = map(clip_utf16, texts, (TITLE_UNITS, TEXT_UNITS))
        self._withdrawn = win32event.CreateEvent(None, True, False, None)
        self._outcome: WarningOutcome | None = None
        self._shown_at: float | None = None
        self._over = False
        self._handle = 0
        self._sent: list[tuple[int, Any]] = []  # the messages to the task bar: icon, then balloon

    def withdraw(self) -> None:
        win32event.SetEvent(self._withdrawn)

    def _run(self) -> None:
        _current.toast = self
        if self._topic in COUNTED and not accepts_notifications():
            self._tell(WarningOutcome.UNSEEN)
            return
        milliseconds = round(TRY_AGAIN_S * 1000)
        try:
            while not self._present():
                log.debug("the task bar takes no toast yet", exc_info=True)
                if win32event.WaitForSingleObject(self._withdrawn, milliseconds) == 0:
                    return
        except Exception:
            log.exception("the toast has failed")
            self._tell(WarningOutcome.FAILED)

    def _present(self) -> bool:
        """Show the toast until it is over; return whether the task bar has taken it."""
        notifier = _win10toast().ToastNotifier()
        # win10toast registers its class for each toast, and has no atom if the class exists.
        notifier.classAtom, notifier.hwnd = WINDOW_CLASS, 0
        try:
            notifier._show_toast(self._title, self._text, str(self._icon), STAY_S)  # noqa: SLF001 - show_toast swallows errors
        except _Over:
            return True
        except _NoTaskBar:
            return False
        finally:
            with suppress(win32gui.error):
                win32gui.DestroyWindow(notifier.hwnd)
            with suppress(win32gui.error):
                win32gui.DestroyIcon(self._handle)
        raise AssertionError("win10toast has not slept")

    def notify_icon(self, code: int, data: tuple[Any, ...]) -> None:
        """Call Shell_NotifyIcon in place of win10toast: with a handler, a tooltip and flags."""
        hwnd, number, flags, callback, self._handle, _tip, *balloon = data
        if code == win32gui.NIM_ADD:  # set twice, pywin32's handler would call itself for ever
            win32gui.SetWindowLong(
                hwnd,
                win32con.GWL_WNDPROC,
                {
                    CALLBACK: self._on_event,
                    win32con.WM_DESTROY: self._on_destroy,
                    win32gui.RegisterWindowMessage("TaskbarCreated"): self._on_new_task_bar,
                },
            )
            self._sent.clear()
        if balloon and self._topic in COUNTED:
            balloon.append(NIIF_WARNING | NIIF_RESPECT_QUIET_TIME)
        changed: Any = (hwnd, number, flags, callback, self._handle, TOOLTIP, *balloon)
        self._sent.append((code, changed))
        try:
            win32gui.Shell_NotifyIcon(code, changed)
        except win32gui.error as error:
            raise _NoTaskBar from error

    def wait(self) -> Never:
        """Handle events until the toast is over. Called where win10toast sleeps."""
        began = time.monotonic()
        stay_s = BRIEF_STAY_S if self._topic in BRIEF else STAY_S
        while not self._over and (left := began + stay_s - time.monotonic()) > 0:
            looking = self._outcome is None and time.monotonic() - began < LOOK_FOR_S
            milliseconds = max(1, round(min(left, LOOK_EACH_S if looking else left) * 1000))
            what = win32event.MsgWaitForMultipleObjects(
                [self._withdrawn], False, milliseconds, win32event.QS_ALLINPUT
            )
            if what == win32event.WAIT_OBJECT_0:
                break
            win32gui.PumpWaitingMessages()
            if looking and _is_drawn(self._text):
                self._tell(WarningOutcome.SHOWN)
        raise _Over

    def _on_event(self, _hwnd: int, _message: int, _wparam: int, lparam: int) -> int:
        now = time.monotonic()
        match lparam & 0xFFFF:
            case win32con.WM_LBUTTONUP | Nin.BALLOONUSERCLICK:
                self._end(WarningOutcome.CLICKED)
            case Nin.BALLOONSHOW:
                self._shown_at = now
                self._tell(WarningOutcome.SHOWN)
            case Nin.BALLOONTIMEOUT if self._shown_at is not None and (
                now - self._shown_at < _message_duration_s() - 0.5
            ):
                self._end(WarningOutcome.DISMISSED)  # before its time: the user closed it
            case Nin.BALLOONTIMEOUT:
                self._tell(WarningOutcome.SHOWN)
                self._over = self._topic in BRIEF
            case Nin.BALLOONHIDE if self._outcome is None:
                self._end(WarningOutcome.UNSEEN)
        return 0

    def _on_new_task_bar(self, _hwnd: int, _message: int, _wparam: int, _lparam: int) -> int:
        """Give the icon to a restarted task bar, and the balloon if it was not seen."""
        for code, data in self._sent[: 2 if self._outcome is None else 1]:
            with suppress(win32gui.error):
                win32gui.Shell_NotifyIcon(code, data)
        return 0

    @staticmethod
    def _on_destroy(hwnd: int, _message: int, _wparam: int, _lparam: int) -> int:
        """Remove the icon as win10toast does; return a number, and do not end the thread."""
        with suppress(win32gui.error):
            data: Any = (hwnd, 0)
            win32gui.Shell_NotifyIcon(win32gui.NIM_DELETE, data)
        return 0

    def _end(self, outcome: WarningOutcome) -> None:
        self._over = True
        self._tell(outcome)

    def _tell(self, outcome: WarningOutcome) -> None:
        if outcome is not self._outcome:
            self._outcome = outcome
            self._on_outcome(outcome)


def accepts_notifications() -> bool:
    """Return whether the user is at the desktop and not in quiet time."""
    state = ctypes.c_int()
    failed = query_notification_state(ctypes.byref(state))
    return bool(failed) or state.value in {QUNS_ACCEPTS_NOTIFICATIONS, QUNS_APP}


def _message_duration_s() -> float:
    """Return for how long the user has set Windows to show notifications."""
    seconds = ctypes.c_uint(5)
    user32.SystemParametersInfoW(SPI_GETMESSAGEDURATION, 0, ctypes.byref(seconds), 0)
    return float(seconds.value or 5)


def _is_drawn(text: str) -> bool:
    """Return whether there is a window with this balloon: some task bars report no events."""
    window, abort_if_hung, wait_ms = None, 0x2, 200
    while window := user32.FindWindowExW(None, window, "tooltips_class32", None):
        shown = ctypes.create_unicode_buffer(TEXT_UNITS + 1)
        user32.SendMessageTimeoutW(
            window, win32con.WM_GETTEXT, len(shown), shown, abort_if_hung, wait_ms, None
        )
        if shown.value == text and win32gui.IsWindowVisible(window):
            return True
    return False


def _win10toast() -> Any:
    """Return win10toast, repaired.

    Import it at the first toast, without pkg_resources, which it needs only for an icon that is
    not used.
    """
    stand_in = types.ModuleType("pkg_resources")
    vars(stand_in).update(Requirement=None, resource_filename=None)
    sys.modules.setdefault("pkg_resources", stand_in)
    win10toast: Any = importlib.import_module("win10toast")
    win10toast.Shell_NotifyIcon = lambda *what: _current.toast.notify_icon(*what)  # noqa: PLW0108 - the calling thread's
    win10toast.sleep = lambda _duration_s: _current.toast.wait()
    return win10toast
