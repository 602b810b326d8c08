"""The switch 'start at sign-in': the user's Run key in the registry."""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("for Windows")

import subprocess
import winreg
from collections.abc import Sequence
from contextlib import suppress

from agent.program import program

VALUE = "Coconowork Client"  # the name in the Run key; the setup program writes the same
RUN_KEY = r"Software\Microsoft\Windows\CurrentVersion\Run"
APPROVED_KEY = r"Software\Microsoft\Windows\CurrentVersion\Explorer\StartupApproved\Run"


class RunKey:
    """Implement `agent.ports.Autostart` by the Run key, which the Task Manager can overrule."""

    def __init__(self, command: Sequence[str] | None = None) -> None:
        self._command = list(command) if command else [*program(), "run", "--autostart"]

    def enabled(self) -> bool | None:
        if _read(winreg.HKEY_LOCAL_MACHINE, RUN_KEY) is not None:
            return None
        if _read(winreg.HKEY_CURRENT_USER, RUN_KEY) is None:
            return False
        approved = _read(winreg.HKEY_CURRENT_USER, APPROVED_KEY)
        # The Task Manager writes an odd first byte when the user has disabled the program there.
        return not (isinstance(approved, bytes) and approved[:1] and approved[0] & 1)

    def enable(self) -> None:
        with winreg.CreateKey(winreg.HKEY_CURRENT_USER, RUN_KEY) as key:
            first, *others = self._command
            # Always in quotes: Windows would try a path with a space word by word.
            line = f'"{first}" {subprocess.list2cmdline(others)}'.rstrip()
            winreg.SetValueEx(key, VALUE, 0, winreg.REG_SZ, line)
        _delete(APPROVED_KEY)

    def disable(self) -> None:
        _delete(RUN_KEY)
        _delete(APPROVED_KEY)


def _read(hive: int, path: str) -> object:
    with suppress(OSError), winreg.OpenKey(hive, path) as key:
        value: object = winreg.QueryValueEx(key, VALUE)[0]
        return value
    return None


def _delete(path: str) -> None:
    with (
        suppress(FileNotFoundError),
        winreg.OpenKey(winreg.HKEY_CURRENT_USER, path, 0, winreg.KEY_SET_VALUE) as key,
    ):
        winreg.DeleteValue(key, VALUE)
