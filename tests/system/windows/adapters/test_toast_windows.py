"""The toast on a real Windows. Clicks are posted as Windows does: Wine's balloon takes none."""

from __future__ import annotations

import sys

from tests.support.places import ROOT

if sys.platform != "win32":
    raise ImportError("for Windows")

import ctypes
import gettext
import threading
from collections.abc import Iterator
from ctypes import wintypes
from functools import partial
from typing import Any

import pytest
import win32con
import win32gui

from agent.ports import Notification, ToastError, Topic
from agent.windows import toast as toast_windows
from agent.windows.toast import (
    CALLBACK,
    NIN_BALLOONTIMEOUT,
    NIN_BALLOONUSERCLICK,
    WindowsToaster,
)
from agent.windows.tray import WindowsTray
from tests.support.polling import eventually

ASSETS = ROOT / "agent" / "assets"
WAIT_S = 20.0
user32 = ctypes.WinDLL("user32")
user32.SendMessageW.argtypes = [wintypes.HWND, wintypes.UINT, wintypes.WPARAM, wintypes.LPVOID]
UNDER_WINE = hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")
win10toast: Any = toast_windows._import_win10toast()


def window() -> int:
    """Return win10toast's window, 0 when there is no toast."""
    try:
        return int(win32gui.FindWindow("PythonTaskbar", None))
    except win32gui.error:
        return 0


def balloons() -> list[str]:
    """Return the texts of the balloons that can be seen."""
    found: list[str] = []

    def visit(hwnd: int, _: object) -> bool:
        kind = win32gui.GetClassName(hwnd)
        if kind == "tooltips_class32" and win32gui.IsWindowVisible(hwnd):
            # GetWindowText does not ask the windows of other programs.
            text = ctypes.create_unicode_buffer(512)
            user32.SendMessageW(hwnd, win32con.WM_GETTEXT, len(text), text)
            found.append(text.value)
        return True

    win32gui.EnumWindows(visit, None)
    return found


class Shown:
    """Shows toasts, and keeps the result of each."""

    def __init__(self) -> None:
        self.toaster = WindowsToaster(ASSETS / "old_password.ico")
        self.done: list[tuple[str, Exception | None]] = []
        self.clicked: list[str] = []

    def show(
        self,
        text: str,
        title: str = "Your password has been changed",
        topic: Topic = Topic.PASSWORD,
    ) -> None:
        clicked = partial(self.clicked.append, text)
        self.toaster.show(
            Notification(topic, title, text, clicked),
            on_done=lambda error: self.done.append((text, error)),
        )

    def post(self, event: int) -> None:
        win32gui.PostMessage(window(), CALLBACK, 0, event)


@pytest.fixture
def shown() -> Iterator[Shown]:
    """Yield a toaster, and close it."""
    made = Shown()
    yield made
    made.toaster.close()
    assert not window()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, Any]]:
    """Return a list of the calls to Shell_NotifyIcon, which are passed on to the real one."""
    calls: list[tuple[int, Any]] = []
    real = win32gui.Shell_NotifyIcon

    def spy(code: int, data: Any) -> None:
        calls.append((code, data))
        real(code, data)

    monkeypatch.setattr(win32gui, "Shell_NotifyIcon", spy)
    monkeypatch.setattr(win10toast, "Shell_NotifyIcon", spy)
    return calls


@pytest.mark.skipif(not UNDER_WINE, reason="Windows 10 draws toasts in no window of its own")
def test_is_seen(shown: Shown) -> None:
    """The text is on the screen."""
    shown.show("古いパスワードは30日後に無効になります。")
    eventually(lambda: "古いパスワードは30日後に無効になります。" in balloons())
    assert shown.done == [("古いパスワードは30日後に無効になります。", None)]


def test_click_is_reported_once_and_ends_it(shown: Shown) -> None:
    """A click on the balloon is reported, which win10toast does not do."""
    shown.show("text")
    eventually(lambda: shown.done)
    shown.post(NIN_BALLOONUSERCLICK)
    eventually(lambda: not window())
    assert shown.clicked == ["text"]


def test_click_on_its_icon_is_a_click(shown: Shown) -> None:
    """A click on the toast's icon counts as one on the toast."""
    shown.show("text")
    eventually(lambda: shown.done)
    shown.post(win32con.WM_LBUTTONUP)
    eventually(lambda: shown.clicked == ["text"])


def test_withdrawn_it_goes_and_the_next_is_shown(shown: Shown) -> None:
    """A withdrawn toast goes, and the next one is shown."""
    shown.show("first")
    eventually(lambda: shown.done)
    shown.toaster.withdraw(Topic.PASSWORD)
    eventually(lambda: not window())
    shown.show("second")
    eventually(lambda: len(shown.done) == 2)
    assert shown.done == [("first", None), ("second", None)]


def test_withdrawing_forgets_what_waits(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    """Withdrawing drops a toast that waits for its turn, too."""
    shown.show("first")
    eventually(lambda: shown.done)
    shown.show("second")
    shown.toaster.withdraw(Topic.PASSWORD)
    eventually(lambda: not window())
    shown.show("third")
    eventually(lambda: len(shown.done) == 2)
    assert [text for text, _ in shown.done] == ["first", "third"]


def test_withdrawing_leaves_other_topics(shown: Shown) -> None:
    """A login takes back what asks for a password, and not what it has not resolved."""
    shown.show("settings", topic=Topic.SETTINGS)
    eventually(lambda: shown.done)
    shown.show("password")
    shown.show("action", topic=Topic.ACTION)
    shown.toaster.withdraw(Topic.PASSWORD)
    assert window()
    shown.toaster.withdraw(Topic.SETTINGS)
    eventually(lambda: len(shown.done) == 2)
    assert [text for text, _ in shown.done] == ["settings", "action"]


def test_second_toast_waits_and_is_not_lost(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    """Toasts are shown one after the other, where win10toast loses the second."""
    monkeypatch.setattr(toast_windows, "DURATION_S", 1.0)
    for text in ("first", "second", "third"):
        shown.show(text)
    eventually(lambda: len(shown.done) == 3)
    assert shown.done == [("first", None), ("second", None), ("third", None)]


def test_comes_again_when_windows_takes_it_away_early(
    shown: Shown, told: list[tuple[int, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A toast that Windows ends after 5 s is shown again."""
    monkeypatch.setattr(toast_windows, "_message_duration_s", lambda: 0.0)
    shown.show("text")
    eventually(lambda: shown.done)
    before = len(told)
    shown.post(NIN_BALLOONTIMEOUT)
    eventually(lambda: len(told) > before)
    assert told[-1][0] == win32gui.NIM_MODIFY
    assert told[-1][1][6] == "text"


def test_stays_away_when_the_user_closed_it(shown: Shown, told: list[tuple[int, Any]]) -> None:
    """A toast that the user has closed is not shown again."""
    shown.show("text")
    eventually(lambda: shown.done)
    before = len(told)
    shown.post(NIN_BALLOONTIMEOUT)
    shown.post(win32con.WM_LBUTTONUP)
    eventually(lambda: shown.clicked)
    assert not [data for _, data in told[before:] if len(data) > 6]


def test_waits_for_the_task_bar(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    """A toast is tried again until the task bar is there."""
    real = win32gui.Shell_NotifyIcon
    refused: list[int] = []

    def late(code: int, data: Any) -> None:
        if len(refused) < 3:
            refused.append(code)
            raise win32gui.error(1460, "Shell_NotifyIcon", "timeout")
        real(code, data)

    monkeypatch.setattr(toast_windows, "TRY_AGAIN_S", 0.05)
    monkeypatch.setattr(win10toast, "Shell_NotifyIcon", late)
    shown.show("text")
    eventually(lambda: shown.done)
    assert shown.done == [("text", None)]
    assert len(refused) == 3


def test_no_task_bar_is_a_failure_and_the_next_toast_works(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a task bar a toast fails, and the next one works."""

    def never(code: int, data: Any) -> None:
        raise win32gui.error(1460, "Shell_NotifyIcon", "timeout")

    monkeypatch.setattr(toast_windows, "TRY_AGAIN_S", 0.01)
    monkeypatch.setattr(win10toast, "Shell_NotifyIcon", never)
    shown.show("first")
    eventually(lambda: shown.done)
    assert isinstance(shown.done[0][1], ToastError)
    monkeypatch.undo()
    shown.show("second")
    eventually(lambda: len(shown.done) == 2)
    assert shown.done[1] == ("second", None)


def test_long_texts_are_clipped(shown: Shown) -> None:
    """Texts are clipped to what pywin32 takes."""
    shown.show("文😀" * 300, title="題😀" * 100)
    eventually(lambda: shown.done)
    assert shown.done[0][1] is None


def test_does_not_end_the_tray(shown: Shown) -> None:
    """The WM_QUIT of win10toast does not end the tray's loop."""
    tray = WindowsTray(ASSETS, gettext.NullTranslations())
    thread = threading.Thread(target=tray.run, args=(lambda _: None,))
    thread.start()
    shown.show("text")
    eventually(lambda: shown.done)
    shown.toaster.withdraw(Topic.PASSWORD)
    eventually(lambda: not window())
    assert thread.is_alive()
    tray.stop()
    thread.join(WAIT_S)
    assert not thread.is_alive()
