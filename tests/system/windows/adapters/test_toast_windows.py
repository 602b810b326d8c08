"""The toast on a real Windows. The tests post the task bar's events, because Wine's posts none."""

from __future__ import annotations

import sys

from tests.support.places import ROOT

if sys.platform != "win32":
    raise ImportError("for Windows")

from collections.abc import Iterator
from typing import Any

import pytest
import win32con
import win32gui

from agent.ports import Topic
from agent.windows import toast as toast_windows
from agent.windows.toast import CALLBACK, WINDOW_CLASS, Nin, WindowsToaster
from tests.support.polling import eventually

ASSETS = ROOT / "agent" / "assets"


def windows() -> list[int]:
    """Return win10toast's windows, one for each toast."""
    found: list[int] = []
    window: int | None = None
    while window := toast_windows.user32.FindWindowExW(None, window, WINDOW_CLASS, None):
        found.append(window)
    return found


class Shown:
    """Shows toasts, and records their outcomes."""

    def __init__(self) -> None:
        self.toaster = WindowsToaster(ASSETS / "old_password.ico")
        self.outcomes: list[str] = []

    def show(self, text: str = "text", title: str = "title", topic: Topic = Topic.WARNING) -> None:
        self.toaster.show(
            topic, title, text, lambda outcome: self.outcomes.append(f"{text} {outcome.value}")
        )

    def show_and_wait(self) -> int:
        """Show a toast. Return its window, once the balloon is sent."""
        self.show()
        return eventually(lambda: next(iter(windows()), 0))

    def tell(self, *events: int) -> None:
        """Post events of the only toast, as the task bar does."""
        (window,) = eventually(windows)
        for event in events:
            win32gui.PostMessage(window, CALLBACK, 0, event)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shown]:
    """Yield a toaster that relies on the task bar's events only; close it at the end."""
    monkeypatch.setattr(toast_windows, "_is_drawn", lambda _: False)
    made = Shown()
    yield made
    made.toaster.close()
    assert not windows()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, Any]]:
    """Return a list that gets each call of Shell_NotifyIcon, which still takes effect."""
    calls: list[tuple[int, Any]] = []
    real = win32gui.Shell_NotifyIcon

    def spy(code: int, data: Any) -> None:
        calls.append((code, data))
        real(code, data)

    monkeypatch.setattr(win32gui, "Shell_NotifyIcon", spy)
    return calls


@pytest.mark.parametrize(
    ("events", "outcomes", "stays"),
    [
        ([Nin.BALLOONSHOW], ["shown"], True),
        ([Nin.BALLOONSHOW, Nin.BALLOONUSERCLICK], ["shown", "clicked"], False),
        ([Nin.BALLOONSHOW, win32con.WM_LBUTTONUP], ["shown", "clicked"], False),
        ([Nin.BALLOONUSERCLICK], ["clicked"], False),
        ([Nin.BALLOONSHOW, Nin.BALLOONTIMEOUT], ["shown", "dismissed"], False),
        ([Nin.BALLOONTIMEOUT], ["shown"], True),
        ([Nin.BALLOONHIDE], ["unseen"], False),
        ([Nin.BALLOONSHOW, Nin.BALLOONHIDE], ["shown"], True),
    ],
    ids=str,
)
def test_what_the_task_bar_says_of_it(
    shown: Shown, events: list[int], outcomes: list[str], stays: bool
) -> None:
    """A toast without an event is unseen; a seen one stays until it is clicked or dismissed."""
    window = shown.show_and_wait()
    shown.tell(*events)
    eventually(lambda: shown.outcomes == [f"text {outcome}" for outcome in outcomes])
    if stays:
        shown.tell(win32con.WM_NULL)
        assert windows() == [window]
    else:
        eventually(lambda: not windows())


def test_the_end_of_its_time(
    shown: Shown, told: list[tuple[int, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time-out does not dismiss a warning: it stays for an hour, without a second balloon.

    A toast of another topic ends with its balloon.
    """
    monkeypatch.setattr(toast_windows, "_message_duration_s", lambda: 0.0)
    shown.show_and_wait()
    shown.tell(Nin.BALLOONSHOW, Nin.BALLOONTIMEOUT, Nin.BALLOONTIMEOUT)
    shown.tell(Nin.BALLOONUSERCLICK)
    eventually(lambda: shown.outcomes == ["text shown", "text clicked"])
    assert len([data for _, data in told if len(data) > 6]) == 1
    eventually(lambda: not windows())
    shown.show(topic=Topic.RECEIVED)
    shown.tell(Nin.BALLOONTIMEOUT)
    eventually(lambda: not windows())
    monkeypatch.setattr(toast_windows, "STAY_S", 0.5)
    shown.show_and_wait()
    eventually(lambda: not windows())


@pytest.mark.parametrize(("state", "topic"), [(1, Topic.WARNING), (6, Topic.PASSWORD)])
def test_is_not_sent_while_the_user_cannot_see_it(
    shown: Shown,
    told: list[tuple[int, Any]],
    monkeypatch: pytest.MonkeyPatch,
    state: int,
    topic: Topic,
) -> None:
    """Away, in a presentation or in quiet time, warnings wait; answers to the user do not."""

    def query(pointer: Any) -> int:
        pointer._obj.value = state
        return 0

    monkeypatch.setattr(toast_windows, "query_notification_state", query)
    shown.show(topic=topic)
    eventually(lambda: shown.outcomes == ["text unseen"])
    assert told == []
    shown.show(topic=Topic.ACTION)
    shown.tell(Nin.BALLOONSHOW)
    eventually(lambda: shown.outcomes[1:] == ["text shown"])


def test_what_windows_gets(shown: Shown, told: list[tuple[int, Any]]) -> None:
    """Windows gets the flag for quiet time, our name with the icon, and texts that fit."""
    shown.show("文😀" * 300, title="題😀" * 100)
    eventually(lambda: len(told) == 2)
    (_, icon), (_, balloon) = told
    assert icon[5] == balloon[5] == "coconowork client"
    assert balloon[9] & toast_windows.NIIF_RESPECT_QUIET_TIME
    assert windows()


@pytest.mark.parametrize(("seen", "balloons_sent"), [(False, 2), (True, 1)])
def test_is_given_to_a_restarted_task_bar(
    shown: Shown, told: list[tuple[int, Any]], *, seen: bool, balloons_sent: int
) -> None:
    """A restarted task bar gets the icon again, and the balloon if the user has not seen it."""
    shown.show()
    (window,) = eventually(windows)
    eventually(lambda: len(told) == 2)
    if seen:
        shown.tell(Nin.BALLOONSHOW)
    win32gui.PostMessage(window, win32gui.RegisterWindowMessage("TaskbarCreated"), 0, 0)
    shown.tell(Nin.BALLOONUSERCLICK)
    eventually(lambda: not windows())
    assert [code for code, _ in told].count(win32gui.NIM_ADD) == 2
    assert len([data for _, data in told if len(data) > 6]) == balloons_sent


def test_each_topic_has_its_own_toast(shown: Shown) -> None:
    """A newer toast replaces an earlier one of its topic, and waits for no other topic."""
    shown.show("first")
    eventually(windows)
    shown.show("second")
    shown.show("settings", topic=Topic.SETTINGS)
    eventually(lambda: len(windows()) == 2)
    shown.toaster.withdraw(Topic.WARNING)
    eventually(lambda: len(windows()) == 1)
    shown.tell(Nin.BALLOONSHOW)
    eventually(lambda: shown.outcomes == ["settings shown"])


def test_waits_for_the_task_bar(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    """A toast is retried until the task bar is there or the toast is withdrawn."""
    real = win32gui.Shell_NotifyIcon
    refused: list[int] = []
    taken: list[int] = []

    def late(code: int, data: Any) -> None:
        if len(refused) < 3:
            refused.append(code)
            raise win32gui.error(1460, "Shell_NotifyIcon", "timeout")
        real(code, data)
        taken.append(code)

    monkeypatch.setattr(toast_windows, "TRY_AGAIN_S", 0.05)
    monkeypatch.setattr(win32gui, "Shell_NotifyIcon", late)
    shown.show()
    eventually(lambda: win32gui.NIM_MODIFY in taken)
    assert len(refused) == 3
    shown.tell(Nin.BALLOONSHOW)
    eventually(lambda: shown.outcomes == ["text shown"])
    refused.clear()
    monkeypatch.setattr(toast_windows, "TRY_AGAIN_S", 60.0)
    shown.show("withdrawn")
    eventually(lambda: refused)
    shown.toaster.close()
    assert shown.outcomes == ["text shown"]


def test_a_defect_is_a_failure_and_the_next_toast_works(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception in win10toast is reported as a failure; the next toast works."""

    def broken(*_: object) -> int:
        raise win32gui.error(8, "SetWindowLong", "no memory")

    monkeypatch.setattr(win32gui, "SetWindowLong", broken)
    shown.show("first")
    eventually(lambda: shown.outcomes == ["first failed"])
    monkeypatch.undo()
    shown.show_and_wait()
    shown.tell(Nin.BALLOONSHOW)
    eventually(lambda: shown.outcomes[1:] == ["text shown"])
