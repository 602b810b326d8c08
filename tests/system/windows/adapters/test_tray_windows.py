"""The tray with a real icon and real window messages."""

from __future__ import annotations

import sys

from tests.support.places import ROOT

if sys.platform != "win32":
    raise ImportError("for Windows")

import ctypes
import gettext
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import win32gui
from pystray._util import win32

from agent.core.failure import Reason
from agent.core.state import State
from agent.core.view import Command, View
from agent.ports import TrayError
from agent.windows import tray as tray_windows
from agent.windows.tray import ICON_ID, WM_CLOSE, WM_ENDSESSION, WM_QUERYENDSESSION, WindowsTray
from protocol.text import utf16_units
from tests.support.polling import eventually

ASSETS = ROOT / "agent" / "assets"
ENGLISH = gettext.NullTranslations()
STANDBY = View(State.STANDBY, server="wss://gw.example.com/gateway", user="tanaka")
WAIT_S = 20.0


def is_shown(window: int) -> bool:
    """Return whether the task bar has our icon, by whether it accepts a change."""
    data = win32.NOTIFYICONDATAW(
        cbSize=ctypes.sizeof(win32.NOTIFYICONDATAW), hWnd=window, uID=ICON_ID, uFlags=0
    )
    return bool(win32.Shell_NotifyIcon(win32.NIM_MODIFY, ctypes.byref(data)))


class Running:
    """A tray whose loop runs on a thread, and the commands that were picked."""

    def __init__(self, assets: Path = ASSETS) -> None:
        self.tray: Any = WindowsTray(assets, ENGLISH)
        self.picked: list[Command] = []
        self.error: Exception | None = None
        self.tray.show(STANDBY)
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.tray.run(self.picked.append)
        except TrayError as error:
            self.error = error

    def start(self) -> Running:
        self._thread.start()
        eventually(lambda: self.window or not self._thread.is_alive())
        return self

    @property
    def window(self) -> int:
        icon = self.tray._icon
        return icon.window or 0 if icon else 0

    def send(self, message: int, wparam: int = 0, lparam: int = 0) -> int:
        answer: int = win32gui.SendMessage(self.window, message, wparam, lparam)
        return answer

    def tell(self, event: int, x: int = 0, y: int = 0) -> None:
        """Send an event of the icon, in the form of NOTIFYICON_VERSION_4."""
        self.send(win32.WM_NOTIFY, (y & 0xFFFF) << 16 | x & 0xFFFF, ICON_ID << 16 | event)

    def end(self) -> None:
        self.tray.stop()
        self.join()

    def join(self) -> None:
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()


@pytest.fixture
def running() -> Iterator[Running]:
    """Yield a tray with its icon on the task bar."""
    made = Running().start()
    eventually(lambda: is_shown(made.window))
    yield made
    made.end()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, Any]]:
    """Return a list that gets each call of Shell_NotifyIcon, which still takes effect."""
    calls: list[tuple[int, Any]] = []
    real = win32.Shell_NotifyIcon

    def spy(code: int, pointer: Any) -> int:
        data = win32.NOTIFYICONDATAW.from_buffer_copy(pointer._obj)
        calls.append((code, data))
        return int(real(code, pointer))

    monkeypatch.setattr(win32, "Shell_NotifyIcon", spy)
    return calls


def test_new_view_changes_icon_and_tooltip(told: list[tuple[int, Any]], running: Running) -> None:
    """A new view changes icon and tooltip; the last nine days are a number."""
    for days, name in ((10, "old_password"), (9, "days-9"), (0, "days-0")):
        running.tray.show(View(State.STANDBY_OLD_PASSWORD, days_left=days))
        eventually(lambda: name in {each for each, _ in running.tray._icon._handles})  # noqa: B023
    eventually(lambda: "today" in told[-1][1].szTip)
    assert len({data.hIcon for _, data in told if data.hIcon}) == 4


def test_icon_refused_at_sign_in_is_added_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """An icon that the task bar refuses at sign-in is added later."""
    real = win32.Shell_NotifyIcon
    refused: list[int] = []

    def late(code: int, pointer: Any) -> int:
        if len(refused) < 6:
            refused.append(code)
            return 0
        return int(real(code, pointer))

    monkeypatch.setattr(win32, "Shell_NotifyIcon", late)
    monkeypatch.setattr(tray_windows, "FIRST_RETRY_MS", 20)
    made = Running().start()
    try:
        eventually(lambda: len(refused) == 6 and made.tray._icon.visible)
        assert is_shown(made.window)
    finally:
        made.end()


def test_comes_back_when_explorer_restarts(told: list[tuple[int, Any]], running: Running) -> None:
    """After a restart of Explorer the icon is added again, with its version set to 4.

    The next change of state adds a missing icon.
    """
    running.send(win32.WM_TASKBARCREATED)
    eventually(lambda: [code for code, _ in told].count(win32.NIM_SETVERSION) == 2)
    assert is_shown(running.window)
    versions = [data.uVersion for code, data in told if code == win32.NIM_SETVERSION]
    assert versions == [tray_windows.NOTIFYICON_VERSION_4] * 2
    assert all(data.uFlags & win32.NIF_SHOWTIP for code, data in told if code == win32.NIM_ADD)
    running.tray._icon._message(win32.NIM_DELETE)
    assert not is_shown(running.window)
    running.tray.show(View(State.CONNECTING))
    eventually(lambda: is_shown(running.window))


def test_the_end_of_the_session(running: Running) -> None:
    """The window agrees to the session's end; then the icon goes and the program quits."""
    assert running.send(WM_QUERYENDSESSION) == 1
    running.send(WM_ENDSESSION, 0)
    assert running.picked == []
    assert is_shown(running.window)
    running.send(WM_ENDSESSION, 1)
    assert running.picked == [Command.QUIT]
    assert not is_shown(running.window)
    running.send(WM_CLOSE)  # as `taskkill` does
    assert running.picked == [Command.QUIT] * 2


def test_click_shows_status_or_asks_for_the_password(running: Running) -> None:
    """A click or Enter on the icon shows the status, or asks for a needed password.

    A click that fails is logged, and the icon stays.
    """
    for view in (STANDBY, View(State.NEEDS_PASSWORD, reason=Reason.EXPIRED)):
        running.tray.show(view)
        for event in (tray_windows.NIN_SELECT, tray_windows.NIN_KEYSELECT):
            running.tell(event)
    assert running.picked == [Command.STATUS] * 2 + [Command.UPDATE_PASSWORD] * 2
    running.tray.on_command = lambda _: 1 / 0
    running.tell(tray_windows.NIN_SELECT)
    assert is_shown(running.window)


@pytest.mark.parametrize(("front", "returned"), [(True, 1), (False, 0)])
def test_the_menu_opens_at_the_icon_and_gives_the_keyboard_back(
    told: list[tuple[int, Any]],
    running: Running,
    monkeypatch: pytest.MonkeyPatch,
    front: bool,
    returned: int,
) -> None:
    """The menu opens at the event's place, on any screen; Esc returns to the task bar."""
    places: list[tuple[int, int]] = []

    def track(_menu: int, _flags: int, x: int, y: int, *_: object) -> int:
        places.append((x, y))
        return 0

    icon: Any = running.tray._icon
    monkeypatch.setattr(win32, "TrackPopupMenuEx", track)
    in_front = icon._menu_hwnd if front else 0
    monkeypatch.setattr(tray_windows, "foreground_window", lambda: in_front)
    running.tell(tray_windows.WM_CONTEXTMENU, x=-300, y=1040)
    assert places == [(-300, 1040)]
    assert [code for code, _ in told].count(win32.NIM_SETFOCUS) == returned


def test_long_texts_are_clipped(told: list[tuple[int, Any]], running: Running) -> None:
    """Long tooltips are clipped to the field's length, never inside a character."""

    class Long(gettext.NullTranslations):
        def gettext(self, message: str) -> str:
            return "あ😀" * 100

    running.tray.translate(Long())
    eventually(lambda: utf16_units(told[-1][1].szTip) in {126, 127})


def test_defect_in_set_up_ends_the_program(tmp_path: Path) -> None:
    """A tray that cannot start ends with an error."""
    made = Running(tmp_path).start()
    made.join()
    assert isinstance(made.error, TrayError)


def test_later_defect_ends_the_program(running: Running) -> None:
    """An icon that cannot be drawn ends the program, instead of showing an old state."""
    running.tray.assets = Path("C:/nowhere")
    running.tray.show(View(State.NEEDS_PASSWORD))
    running.join()
    assert isinstance(running.error, TrayError)


def test_stop_before_run_is_not_lost() -> None:
    """`stop` before `run` ends `run` at once."""
    made = Running()
    made.tray.stop()
    made._thread.start()
    made.join()
    assert made.error is None


@pytest.mark.parametrize("runs", [False, True])
def test_the_early_icon(*, runs: bool) -> None:
    """The early icon ignores clicks until `run` takes it over; `close` works without `run`."""
    early = Running()
    early.tray.start()
    eventually(lambda: early.window and is_shown(early.window))
    window = early.window
    early.tell(tray_windows.NIN_SELECT)
    early.tell(tray_windows.WM_CONTEXTMENU)
    if runs:
        early.start()
        eventually(lambda: early.tray.on_command)
        early.tell(tray_windows.NIN_SELECT)
        assert early.window == window
        early.end()
    else:
        early.tray.close()
    assert not is_shown(window)
    assert early.picked == [Command.STATUS] * runs


def test_icon_is_drawn_for_every_scale(running: Running) -> None:
    """The icon has the exact size of each scale, so that Windows scales nothing."""
    for size in (16, 20, 24, 28, 32, 36, 40, 44, 48, 56, 64):
        info: Any = win32gui.GetIconInfo(running.tray._icon._handle("standby", size))
        bitmap: Any = win32gui.GetObject(info[4])
        assert (bitmap.bmWidth, bitmap.bmHeight, bitmap.bmBitsPixel) == (size, size, 32)


def test_many_changes_leak_nothing(running: Running) -> None:
    """200 changes of the icon leave no handle behind."""
    process = ctypes.windll.kernel32.GetCurrentProcess()
    resources = ctypes.windll.user32.GetGuiResources

    def churn(count: int) -> None:
        for number in range(count):
            running.tray.show(View(State.STANDBY if number % 2 else State.CONNECTING))
            running.send(tray_windows.WM_APPLY)

    churn(10)
    before = [resources(process, kind) for kind in (0, 1)]
    churn(200)
    assert [resources(process, kind) for kind in (0, 1)] == before
