"""The switch 'start at sign-in' in the real registry."""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("for Windows")

import winreg
from collections.abc import Iterator

import pytest

from agent.windows.autostart import APPROVED_KEY, RUN_KEY, VALUE, RunKey

EXE = r"C:\Program Files\Coconowork Client\coconowork-client.exe"


def run_line() -> str:
    """Return the command in the registry that Windows runs at a sign-in."""
    with winreg.OpenKey(winreg.HKEY_CURRENT_USER, RUN_KEY) as key:
        return str(winreg.QueryValueEx(key, VALUE)[0])


@pytest.fixture
def switch() -> Iterator[RunKey]:
    """Yield the switch, set to off."""
    made = RunKey([EXE, "run", "--autostart"])
    made.disable()
    yield made
    made.disable()


def test_is_switched_on_and_off(switch: RunKey) -> None:
    """The switch writes the line that the setup program writes, always quoted, and removes it."""
    assert switch.enabled() is False
    switch.enable()
    assert switch.enabled() is True
    assert run_line() == f'"{EXE}" run --autostart'
    RunKey([r"C:\client.exe", "run"]).enable()
    assert run_line() == r'"C:\client.exe" run'
    switch.disable()
    assert switch.enabled() is False


def test_task_manager_is_respected(switch: RunKey) -> None:
    """An entry that Task Manager has disabled counts as off, and can be switched on."""
    switch.enable()
    with winreg.CreateKey(winreg.HKEY_CURRENT_USER, APPROVED_KEY) as key:
        winreg.SetValueEx(key, VALUE, 0, winreg.REG_BINARY, b"\x03" + bytes(11))
    assert switch.enabled() is False
    switch.enable()
    assert switch.enabled() is True


def test_started_for_everybody_is_not_the_users_choice(switch: RunKey) -> None:
    """A machine-wide installation leaves the user no choice."""
    with winreg.CreateKey(winreg.HKEY_LOCAL_MACHINE, RUN_KEY) as key:
        winreg.SetValueEx(key, VALUE, 0, winreg.REG_SZ, f'"{EXE}" run --autostart')
    try:
        assert switch.enabled() is None
    finally:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, RUN_KEY, 0, winreg.KEY_WRITE) as key:
            winreg.DeleteValue(key, VALUE)
