"""Sign-ins against a logind of the tests' own, network changes against the kernel."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Queue

import pytest

from agent.core.events import NetworkChanged, SignedIn, SignInKind
from agent.linux import session_watcher as signin_linux
from agent.linux.session_watcher import LogindWatcher, session_name
from demo.private_keyring import PrivateKeyring
from tests.support.bus_service import Answer, BusService
from tests.support.places import ROOT

pytestmark = pytest.mark.keyring

LOGIND = "org.freedesktop.login1"
MANAGER = "/org/freedesktop/login1"
OURS, OTHER = f"{MANAGER}/session/_35", f"{MANAGER}/session/_36"
USER = f"{MANAGER}/user/_1000"


class Logind:
    """logind, a watcher on it, and what the watcher has told."""

    def __init__(self, service: BusService) -> None:
        self.service = service
        self.told: Queue[SignedIn | NetworkChanged] = Queue()
        self.watcher = LogindWatcher()

    def change(self, path: str, **values: bool) -> None:
        changed = {name: ("b", value) for name, value in values.items()}
        self.service.signal(
            path,
            "org.freedesktop.DBus.Properties",
            "PropertiesChanged",
            "sa{sv}as",
            f"{LOGIND}.Session",
            changed,
            [],
        )

    def resume(self) -> None:
        self.service.signal(MANAGER, f"{LOGIND}.Manager", "PrepareForSleep", "b", False)


@pytest.fixture
def logind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Logind]:
    bus = PrivateKeyring(tmp_path / "bus")
    bus.start()
    address = bus.environment["DBUS_SESSION_BUS_ADDRESS"]
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
    monkeypatch.setenv("XDG_SESSION_ID", "5")
    answers: dict[str, Answer] = {
        "GetSession": lambda name: ("o", (OURS if name == "5" else OTHER,)),
        "GetUser": lambda _: ("o", (USER,)),
        "Get": lambda *_: ("v", (("(so)", ("5", OURS)),)),
        "GetAll": lambda _: (
            "a{sv}",
            ({"LockedHint": ("b", False), "Active": ("b", True)},),
        ),
    }
    with BusService(address, LOGIND, answers) as service:
        logind = Logind(service)
        yield logind
        logind.watcher.stop()
    bus.stop()


def start(logind: Logind) -> None:
    """Until the watcher has heard of the session's state."""
    logind.watcher.start(logind.told.put)
    while logind.service.calls.get(timeout=10)[0] != "GetAll":
        pass
    # What comes after the answer on the same connection is taken after it.
    logind.resume()
    assert logind.told.get(timeout=10) == NetworkChanged()


def test_an_unlock_is_a_sign_in(logind: Logind) -> None:
    """By the lock screen's hint; of our session only, and once."""
    start(logind)
    logind.change(OTHER, LockedHint=True)
    logind.change(OTHER, LockedHint=False)
    logind.change(OURS, LockedHint=False)
    logind.change(OURS, LockedHint=True)
    logind.change(OURS, LockedHint=False)
    logind.service.signal(OURS, f"{LOGIND}.Session", "Unlock")
    logind.resume()
    told = [logind.told.get(timeout=10) for _ in range(3)]
    assert told == [
        NetworkChanged(),
        SignedIn(session_name(), SignInKind.UNLOCK),
        NetworkChanged(),
    ]


def test_an_unlock_by_signal(logind: Logind) -> None:
    """Desktops that set no hint: logind's own Lock and Unlock."""
    start(logind)
    logind.service.signal(OURS, f"{LOGIND}.Session", "Lock")
    logind.service.signal(OURS, f"{LOGIND}.Session", "Unlock")
    assert logind.told.get(timeout=10) == NetworkChanged()
    assert logind.told.get(timeout=10) == SignedIn(session_name(), SignInKind.UNLOCK)


def test_coming_back_to_the_session_is_a_sign_in(logind: Logind) -> None:
    """Switching users, or a remote desktop that takes the session over."""
    start(logind)
    logind.change(OURS, Active=False)
    logind.change(OURS, Active=True)
    assert logind.told.get(timeout=10) == SignedIn(session_name(), SignInKind.CONNECT)


def test_only_the_resume_is_told(logind: Logind) -> None:
    """Going to sleep is no moment to connect."""
    start(logind)
    logind.service.signal(MANAGER, f"{LOGIND}.Manager", "PrepareForSleep", "b", True)
    logind.change(OURS, Active=False)
    logind.change(OURS, Active=True)
    assert isinstance(logind.told.get(timeout=10), SignedIn)


def test_without_a_session_of_its_own(logind: Logind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started by the user's service manager: the session with the display is meant."""
    monkeypatch.delenv("XDG_SESSION_ID")
    start(logind)
    logind.change(OURS, LockedHint=True)
    logind.change(OURS, LockedHint=False)
    assert logind.told.get(timeout=10) == NetworkChanged()
    assert isinstance(logind.told.get(timeout=10), SignedIn)


def test_nothing_is_told_after_stop(logind: Logind) -> None:
    """The thread ends with it."""
    start(logind)
    logind.watcher.stop()
    logind.resume()
    thread = logind.watcher._thread._thread
    assert thread is not None
    assert not thread.is_alive()
    assert logind.told.empty()


def test_without_logind_nothing_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No system bus, as in a container: no sign-ins, no error."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    watcher = LogindWatcher()
    watcher.start(lambda event: pytest.fail(f"{event}"))
    assert watcher.session()
    watcher.stop()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can add an address")
def test_a_new_address_is_told(monkeypatch: pytest.MonkeyPatch, logind: Logind) -> None:
    """A cable, a Wi-Fi, a VPN; one event for all that comes at once, none for a known address."""
    monkeypatch.setattr(signin_linux, "SETTLE_S", 0.2)
    start(logind)

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", "address", *arguments, "dev", "lo"], check=True, timeout=10)

    ip("add", "198.51.100.77/32")
    try:
        ip("add", "198.51.100.78/32")
        assert logind.told.get(timeout=10) == NetworkChanged()
        ip("change", "198.51.100.77/32", "valid_lft", "1000", "preferred_lft", "1000")
        with pytest.raises(Empty):
            logind.told.get(timeout=0.6)
        ip("del", "198.51.100.78/32")
        assert logind.told.get(timeout=10) == NetworkChanged()
    finally:
        ip("del", "198.51.100.77/32")


def test_session_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another session has another name; a restart of the program in the same one has not."""
    command = [
        sys.executable,
        "-c",
        "from agent.linux.session_watcher import *;print(session_name())",
    ]

    def name(**environ: str) -> str:
        return subprocess.run(
            command,
            env={**os.environ, **environ},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout

    assert name(XDG_SESSION_ID="5") == name(XDG_SESSION_ID="5")
    assert name(XDG_SESSION_ID="5") != name(XDG_SESSION_ID="6")
    monkeypatch.delenv("XDG_SESSION_ID", raising=False)
    assert name() == name()
    assert name().count("/") == 1
