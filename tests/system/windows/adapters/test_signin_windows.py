"""Session and power messages, sent to the watcher's hidden window."""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("for Windows")

import subprocess
import threading
from collections.abc import Iterator
from typing import Any

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
from agent.windows import session_watcher
from agent.windows.session_watcher import (
    CLASS_NAME,
    WM_KEEP_AWAKE,
    WM_POWERBROADCAST,
    WM_WTSSESSION_CHANGE,
    WindowsSignInWatcher,
    iphlpapi,
    kernel32,
    logon_session,
    user32,
)
from protocol.messages import Farewell
from tests.support.polling import eventually

AWAKE, MAY_SLEEP = 0x80000001, 0x80000000


@pytest.fixture
def events() -> list[Event]:
    """Return the list that gets the watcher's events."""
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


def test_what_windows_tells(watcher: WindowsSignInWatcher, events: list[Event]) -> None:
    """A user's return and a resume are reported, each with an event to try the network.

    A user's leaving is reported, so that no warning is shown behind a lock.
    """

    def came(kind: SignInKind) -> list[Event]:
        return [SignedIn(watcher.session(), kind), NetworkChanged()]

    changes: list[tuple[int, list[int], list[Event]]] = [
        (WM_WTSSESSION_CHANGE, [0x1, 0x3], came(SignInKind.CONNECT)),
        (WM_WTSSESSION_CHANGE, [0x5], came(SignInKind.SIGN_IN)),
        (WM_WTSSESSION_CHANGE, [0x8], came(SignInKind.UNLOCK)),
        (WM_WTSSESSION_CHANGE, [0x2, 0x4, 0x7], [UserLeft()]),  # two disconnects, lock
        (WM_WTSSESSION_CHANGE, [0x6], []),  # sign-out
        (WM_POWERBROADCAST, [0x7, 0x12], [NetworkChanged()]),  # two kinds of resume
        (WM_POWERBROADCAST, [0x4], [Suspending()]),
    ]
    for message, codes, expected in changes:
        for code in codes:
            events.clear()
            send(message, code)
            assert events == expected, (message, code)


def test_sleep_is_asked_for_and_given_back(
    monkeypatch: pytest.MonkeyPatch, events: list[Event]
) -> None:
    """The window registers for sleep, and unregisters: Modern Standby sends no broadcast."""
    registered: list[tuple[int, ...]] = []
    given_back: list[int] = []

    def register(*arguments: int) -> int:
        registered.append(arguments)
        return 7

    monkeypatch.setattr(user32, "RegisterSuspendResumeNotification", register)
    monkeypatch.setattr(user32, "UnregisterSuspendResumeNotification", given_back.append)
    watcher = WindowsSignInWatcher()
    watcher.start(events.append)
    assert registered == [(win32gui.FindWindow(CLASS_NAME, None), 0)]
    watcher.stop()
    assert given_back == [7]


def test_changes_of_addresses_are_reported_once(
    monkeypatch: pytest.MonkeyPatch, events: list[Event]
) -> None:
    """Changes of IPv4 and IPv6 addresses within one second give one event."""
    asked: list[Any] = []
    real, said = iphlpapi.NotifyUnicastIpAddressChange, threading.Event()

    def call(*arguments: Any) -> int:
        asked.extend(arguments)
        return int(real(*arguments))

    def on_event(event: Event) -> None:
        events.append(event)
        said.set()

    monkeypatch.setattr(session_watcher, "SETTLE_S", 0.3)
    monkeypatch.setattr(iphlpapi, "NotifyUnicastIpAddressChange", call)
    watcher = WindowsSignInWatcher()
    watcher.start(on_event)
    eventually(lambda: len(asked) == 5)
    family, on_change, _, at_once, _ = asked
    assert (family, at_once) == (0, False)
    for _ in range(2):
        said.clear()
        for _ in range(3):
            on_change(None, None, 1)
        assert said.wait(5)
    watcher.stop()
    assert events == [NetworkChanged()] * 2


def test_pc_is_kept_awake_on_mains_power_only(
    monkeypatch: pytest.MonkeyPatch, events: list[Event]
) -> None:
    """The PC is kept awake on mains power only, until the thread ends, as Windows itself says."""
    real, calls, mains = kernel32.SetThreadExecutionState, list[tuple[int, int]](), [1]

    def set_state(state: int) -> int:
        calls.append((state, before := real(state)))
        return int(before)

    def power_status(status: Any) -> None:
        status[0] = mains[0]

    monkeypatch.setattr(kernel32, "SetThreadExecutionState", set_state)
    monkeypatch.setattr(kernel32, "GetSystemPowerStatus", power_status)
    real(MAY_SLEEP)
    watcher = WindowsSignInWatcher()
    watcher.keep_awake(True)
    watcher.start(events.append)
    mains[0] = 0
    send(WM_POWERBROADCAST, 0xA)
    send(WM_POWERBROADCAST, 0xA)
    mains[0] = 255  # unknown
    send(WM_POWERBROADCAST, 0xA)
    watcher.keep_awake(False)
    send(WM_KEEP_AWAKE, 0)
    watcher.stop()
    states = [AWAKE, MAY_SLEEP, AWAKE, MAY_SLEEP]
    assert [state for state, _ in calls] == states
    assert [before for _, before in calls[1:]] == states[:-1]
    assert events == []


def test_end_of_the_session(watcher: WindowsSignInWatcher, events: list[Event]) -> None:
    """The window agrees to the session's end, reports its reason, and whether it comes."""
    farewells: dict[int, Farewell] = {0: "shutdown", 0x80000000: "sign_out", 0x1: "update"}
    for why, farewell in farewells.items():
        events.clear()
        assert send(win32con.WM_QUERYENDSESSION, 0, why) == 1
        send(win32con.WM_ENDSESSION, 0, why)
        send(win32con.WM_ENDSESSION, 1, why)
        assert events == [SessionEnding(farewell), SessionEnding(None), QuitRequested()]


NEW_PROCESS = """
import subprocess
def refuse(*_, **__): raise AssertionError("a program is started")
subprocess.check_output = refuse
from agent.program import os_name, spare_platform
spare_platform()
import uuid, agent.connection, agent.vault, keyring.backends.Windows
from agent.windows.session_watcher import logon_session
print(os_name(), logon_session())
"""


def test_what_a_new_process_finds_out(watcher: WindowsSignInWatcher) -> None:
    """A new process gets the same session name, so a restarted client does not warn again.

    Neither the client nor a library starts `cmd /c ver` for the version of Windows.
    """
    done = subprocess.run(
        [sys.executable, "-c", NEW_PROCESS],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stdout.strip() == f"Windows 10 {watcher.session()}"
    assert watcher.session() == logon_session()


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
