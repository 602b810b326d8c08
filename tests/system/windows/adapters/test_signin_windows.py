"""Session and power messages, sent to the watcher's hidden window."""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("for Windows")

import subprocess
import threading
from collections.abc import Iterator

import pytest
import win32con
import win32gui

from agent.core.events import (
    Event,
    NetworkChanged,
    QuitRequested,
    SessionEnding,
    SignedIn,
    SignInKind,
    Suspending,
    UserLeft,
)
from agent.windows.session_watcher import (
    CLASS_NAME,
    WM_POWERBROADCAST,
    WM_WTSSESSION_CHANGE,
    WindowsSignInWatcher,
    logon_session,
)
from protocol.messages import Farewell


@pytest.fixture
def events() -> list[Event]:
    """Return the list of events from the watcher."""
    return []


@pytest.fixture
def watcher(events: list[Event]) -> Iterator[WindowsSignInWatcher]:
    """Yield a watcher that runs."""
    made = WindowsSignInWatcher()
    made.start(events.append)
    yield made
    made.stop()


def send(message: int, wparam: int, lparam: int = 1) -> int:
    """Send a message to the top-level window, as Windows does. Return the answer."""
    window = win32gui.FindWindow(CLASS_NAME, None)
    answer: int = win32gui.SendMessage(window, message, wparam, lparam)
    return answer


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (0x1, SignInKind.CONNECT),
        (0x3, SignInKind.CONNECT),
        (0x5, SignInKind.SIGN_IN),
        (0x8, SignInKind.UNLOCK),
    ],
    ids=["console connect", "remote connect", "logon", "unlock"],
)
def test_a_user_comes_to_the_desktop(
    watcher: WindowsSignInWatcher, events: list[Event], code: int, kind: SignInKind
) -> None:
    """Each is reported with its kind, and is a reason to try the network."""
    send(WM_WTSSESSION_CHANGE, code)
    assert events == [SignedIn(watcher.session(), kind), NetworkChanged()]


@pytest.mark.parametrize(
    ("code", "expected"),
    [(0x2, [UserLeft()]), (0x4, [UserLeft()]), (0x7, [UserLeft()]), (0x6, []), (0x9, [])],
    ids=["console disconnect", "remote disconnect", "lock", "sign-out", "remote control"],
)
def test_a_user_leaves_the_desktop(
    watcher: WindowsSignInWatcher, events: list[Event], code: int, expected: list[Event]
) -> None:
    """Disconnects and the lock are reported, so that no warning is shown behind them."""
    send(WM_WTSSESSION_CHANGE, code)
    assert events == expected


@pytest.mark.parametrize("code", [0x7, 0x12])
def test_resume_is_a_reason_to_try(
    watcher: WindowsSignInWatcher, events: list[Event], code: int
) -> None:
    """A resume is reported as a change of the network."""
    send(WM_POWERBROADCAST, code)
    assert events == [NetworkChanged()]


def test_sleep_is_reported(watcher: WindowsSignInWatcher, events: list[Event]) -> None:
    """The client sees a suspend before the PC sleeps."""
    send(WM_POWERBROADCAST, 0x4)
    assert events == [Suspending()]


@pytest.mark.parametrize(
    ("why", "farewell"), [(0, "shutdown"), (0x80000000, "sign_out"), (0x1, "update")]
)
def test_end_of_the_session(
    watcher: WindowsSignInWatcher, events: list[Event], why: int, farewell: Farewell
) -> None:
    """The window agrees to an end, reports its reason, and then whether it comes."""
    assert send(win32con.WM_QUERYENDSESSION, 0, why) == 1
    send(win32con.WM_ENDSESSION, 0, why)
    send(win32con.WM_ENDSESSION, 1, why)
    assert events == [SessionEnding(farewell), SessionEnding(None), QuitRequested()]


def test_session_keeps_its_name_in_another_process(watcher: WindowsSignInWatcher) -> None:
    """A restart or upgrade of the program is no sign-in, so there is no second warning."""
    code = "from agent.windows.session_watcher import logon_session; print(logon_session())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stdout.strip() == watcher.session() == logon_session()


def test_stops_at_once_and_can_start_again(events: list[Event]) -> None:
    """Threads end, and nothing is reported afterwards."""
    for _ in range(2):
        made = WindowsSignInWatcher()
        made.start(events.append)
        window = win32gui.FindWindow(CLASS_NAME, None)
        made.stop()
        assert not win32gui.IsWindow(window)
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {"sign-in", "network"}
    assert events == []
