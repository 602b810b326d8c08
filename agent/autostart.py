"""The switch 'start at sign-in': the user's Run key on Windows, an XDG desktop file on Linux."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from agent.files import replace_file
from agent.paths import make_missing
from agent.program import program, program_dir

VALUE = "Coconowork Client"
"""In the Run key; the setup program writes the same."""
RUN_KEY = r"Software\Microsoft\Windows\CurrentVersion\Run"
APPROVED_KEY = r"Software\Microsoft\Windows\CurrentVersion\Explorer\StartupApproved\Run"
DESKTOP_FILE = "coconowork-client.desktop"


class Autostart(Protocol):
    """Whether this user's client starts at sign-in. Calls block for a moment."""

    def enabled(self) -> bool | None:
        """None where the user cannot choose: it is switched on for everybody on this PC."""

    def enable(self) -> None:
        """Raise OSError."""

    def disable(self) -> None:
        """Raise OSError."""


def open_autostart(command: Sequence[str] | None = None) -> Autostart:
    """The switch of this platform; `command` is what is started, this program by default."""
    command = [*program(), "run", "--autostart"] if command is None else list(command)
    if sys.platform == "win32":
        return WindowsAutostart(command)
    return DesktopFile(command)


class DesktopFile:
    """`~/.config/autostart`, as every Linux desktop reads it."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str] = os.environ) -> None:
        home = Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        self._file = home / "autostart" / DESKTOP_FILE
        self._command = command

    def enabled(self) -> bool | None:
        try:
            lines = self._file.read_text(encoding="utf-8").splitlines()
        except OSError:
            return False
        return not {"Hidden=true", "X-GNOME-Autostart-enabled=false"} & set(lines)

    def enable(self) -> None:
        make_missing(self._file.parent)
        text = (
            "[Desktop Entry]\nType=Application\nName=coconowork client\n"
            f"Exec={' '.join(map(_quoted, self._command))}\nTerminal=false\n"
            # Python looks for modules where it is started.
            f"Path={program_dir()}\n"
        )
        replace_file(self._file, text.encode())

    def disable(self) -> None:
        self._file.unlink(missing_ok=True)


def _quoted(argument: str) -> str:
    """By the Desktop Entry Specification: quotes, backslashes and percent signs are escaped."""
    for char in '\\"`$':
        argument = argument.replace(char, f"\\{char}")
    return '"' + argument.replace("\\", "\\\\").replace("%", "%%") + '"'


if sys.platform == "win32":
    import winreg

    class WindowsAutostart:
        """HKCU's Run key, and what the user has said to the Task Manager about it."""

        def __init__(self, command: Sequence[str]) -> None:
            self._command = command

        def enabled(self) -> bool | None:
            if _read(winreg.HKEY_LOCAL_MACHINE, RUN_KEY) is not None:
                return None
            if _read(winreg.HKEY_CURRENT_USER, RUN_KEY) is None:
                return False
            approved = _read(winreg.HKEY_CURRENT_USER, APPROVED_KEY)
            # An odd first byte is the Task Manager's word for "disabled".
            return not (isinstance(approved, bytes) and approved[:1] and approved[0] & 1)

        def enable(self) -> None:
            with winreg.CreateKey(winreg.HKEY_CURRENT_USER, RUN_KEY) as key:
                line = subprocess.list2cmdline(self._command)
                # Always with quotes: a path with a space would be tried word by word.
                if not line.startswith('"'):
                    first, *others = self._command
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
