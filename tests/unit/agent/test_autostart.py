"""The switch 'start at sign-in' on Linux; Windows' is tried on Windows."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

from agent.autostart import DESKTOP_FILE, DesktopFile, open_autostart

COMMAND = ['/opt/it\'s 100% $HOME/"client"', "-m", "agent", "run", "--autostart"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "autostart" / DESKTOP_FILE


@pytest.fixture
def switch(tmp_path: Path) -> DesktopFile:
    return DesktopFile(COMMAND, {"XDG_CONFIG_HOME": str(tmp_path)})


def test_is_switched_on_and_off(switch: DesktopFile, file: Path) -> None:
    """A file where desktops look for it, and nothing left afterwards."""
    assert switch.enabled() is False
    switch.enable()
    assert switch.enabled() is True
    switch.disable()
    switch.disable()
    assert switch.enabled() is False
    assert not file.exists()


def test_command_is_quoted_by_the_specification(switch: DesktopFile, file: Path) -> None:
    """First the string's escapes are undone, then field codes, then the quotes of the command."""
    switch.enable()
    entry = configparser.RawConfigParser()
    entry.optionxform = str  # type: ignore[assignment,method-assign]  # as its documentation says
    entry.read(file, encoding="utf-8")
    line = entry["Desktop Entry"]["Exec"].replace("\\\\", "\\").replace("%%", "%")
    words = re.findall(r'"((?:[^"\\]|\\.)*)"', line)
    assert [re.sub(r"\\(.)", r"\1", word) for word in words] == COMMAND


@pytest.mark.parametrize("line", ["Hidden=true", "X-GNOME-Autostart-enabled=false"])
def test_what_the_desktop_says_counts(switch: DesktopFile, file: Path, line: str) -> None:
    """Its own settings switch a program off with such a line; switching on here takes it back."""
    switch.enable()
    file.write_text(file.read_text() + line + "\n")
    assert switch.enabled() is False
    switch.enable()
    assert switch.enabled() is True


def test_starts_this_program_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words that the setup program uses on Windows."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    open_autostart().enable()
    text = (tmp_path / "autostart" / DESKTOP_FILE).read_text()
    assert text.splitlines()[3].endswith('"-m" "agent" "run" "--autostart"')
