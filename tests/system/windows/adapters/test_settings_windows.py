"""Settings in the registry, and the client's folders, language and log on Windows."""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("for Windows")

import logging
import threading
import time
import winreg
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from agent import files, i18n, logs
from agent.core.credentials import Identity
from agent.host import machine_id
from agent.paths import find_paths
from agent.runtime import follow_time_zone
from agent.settings import POLICY_KEY, SETUP_KEY, Registry, load, save_identity

HIVES = (winreg.HKEY_LOCAL_MACHINE, winreg.HKEY_CURRENT_USER)


def put(hive: int, key: str, name: str, value: str | int, kind: int | None = None) -> None:
    """Write a value to the registry."""
    kind = kind or (winreg.REG_SZ if isinstance(value, str) else winreg.REG_DWORD)
    with winreg.CreateKeyEx(hive, key, 0, winreg.KEY_WRITE | winreg.KEY_WOW64_64KEY) as handle:
        winreg.SetValueEx(handle, name, 0, kind, value)


@pytest.fixture(autouse=True)
def clean_registry() -> Iterator[None]:
    """Remove what the test has written."""
    yield
    for hive in HIVES:
        for key in (POLICY_KEY, SETUP_KEY):
            with suppress(FileNotFoundError):
                winreg.DeleteKeyEx(hive, key, winreg.KEY_WOW64_64KEY, 0)


def test_policy_and_setup(tmp_path: Path) -> None:
    """Machine policy beats user policy, then the file, then the setup program's value."""
    machine, user = HIVES
    paths = find_paths({"COCONOWORK_HOME": str(tmp_path)})

    def server() -> str | None:
        return load(paths, environ={}).server

    assert server() is None
    put(machine, SETUP_KEY, "Server", "setup.example.com")
    put(machine, SETUP_KEY, "Version", "1.0")
    assert server() == "wss://setup.example.com/gateway"
    save_identity(paths, Identity(server="wss://file.example.com/gateway", user="tanaka"))
    assert server() == "wss://file.example.com/gateway"
    put(user, POLICY_KEY, "Server", "user.example.com")
    assert server() == "wss://user.example.com/gateway"
    put(machine, POLICY_KEY, "server", "machine.example.com")
    put(machine, POLICY_KEY, "AllowQuit", 0)
    loaded = load(paths, environ={})
    assert loaded.server == "wss://machine.example.com/gateway"
    assert loaded.allow_quit is False
    assert loaded.user == "tanaka"
    assert loaded.enforced == {"server", "allow_quit"}
    assert loaded.origins["server"].startswith("HKLM\\")


def test_a_policy_that_is_being_written(tmp_path: Path) -> None:
    """A policy is read even while Windows deletes and rewrites its key."""
    paths = find_paths({"COCONOWORK_HOME": str(tmp_path)})
    done = threading.Event()

    def refresh() -> None:
        hive = winreg.HKEY_LOCAL_MACHINE
        while not done.is_set():
            for name in ("A", "B", "C"):
                put(hive, POLICY_KEY, name, "x")
            winreg.DeleteKeyEx(hive, POLICY_KEY, winreg.KEY_WOW64_64KEY, 0)

    thread = threading.Thread(target=refresh)
    thread.start()
    try:
        for _ in range(50):
            load(paths, environ={})
    finally:
        done.set()
        thread.join()


def test_values_of_a_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong value is reported with its place and what is allowed; variables are expanded."""
    put(winreg.HKEY_CURRENT_USER, POLICY_KEY, "Language", "fr")
    monkeypatch.setenv("CCW_TEST_USER", "tanaka")
    put(winreg.HKEY_LOCAL_MACHINE, POLICY_KEY, "User", "%CCW_TEST_USER%", winreg.REG_EXPAND_SZ)
    loaded = load(find_paths({"COCONOWORK_HOME": str(tmp_path)}), environ={})
    assert loaded.user == "tanaka"
    (problem,) = loaded.problems
    assert rf"HKCU\{POLICY_KEY}\Language: allowed is auto, ja or en" in problem


def test_places_language_and_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """All folders are local, so no file roams; a changed time zone is used at once."""
    paths = find_paths({})
    for path in (paths.config_file, paths.state_dir, paths.log_dir, paths.lock_file):
        assert {"Local", "coconowork"} <= set(path.parts)
    assert i18n.system_language({"LANG": "en_US"}) == "ja"
    for zone, hour in (("JST-9", 9), ("EST5", 19)):
        monkeypatch.setenv("TZ", zone)
        follow_time_zone()
        assert time.localtime(0).tm_hour == hour
    monkeypatch.delenv("TZ")
    follow_time_zone()


def test_a_copied_pc_is_another_machine() -> None:
    """A disk copied to another mainboard, or an image set up again, has another machine id."""

    def registry(guid: str, board: str) -> Registry:
        values = {r"SOFTWARE\Microsoft\Cryptography": {"MachineGuid": guid}}
        values[r"SYSTEM\HardwareConfig"] = {"LastConfig": board}
        return lambda key: iter([(key, values[key])])

    made = {machine_id(registry=registry(*each)) for each in ("ab", "ab", "ac", "bb")}
    assert len(made) == 3
    assert machine_id() not in {*made, ""}
    assert machine_id(registry=lambda _: iter(())) == ""


def test_a_log_that_a_user_has_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An open log is copied instead of renamed: nothing is lost, and no file grows too large."""
    monkeypatch.setattr(logs, "MAX_BYTES", 500)
    monkeypatch.setattr(files, "BUSY_S", 0.1)
    file = tmp_path / "client.log"
    try:
        logs.set_up(file, to_stderr=False)
        with file.open("rb"):  # an open file cannot be renamed
            for number in range(20):
                logging.getLogger("agent.test").warning("行 %d %s", number, "x" * 50)
        texts = {each: each.read_text(encoding="utf-8") for each in tmp_path.iterdir()}
        assert len(texts) > 1
        assert all(f"行 {number} " in "".join(texts.values()) for number in range(20))
        assert all(each.stat().st_size <= 500 for each in texts)
    finally:
        logs.tear_down()
