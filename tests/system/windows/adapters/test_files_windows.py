"""Replacing a file on Windows: kills, files open in other programs, folders."""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("for Windows")

import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
import win32file

from agent import files
from agent.files import replace_file

KILLED = """
import os, sys, pathlib
from agent import files
end = lambda *_: os.kill(os.getpid(), 9)
if sys.argv[2] == "replace":
    pathlib.Path.replace = end
else:
    os.fdopen = end
files.replace_file(pathlib.Path(sys.argv[1]), b"new")
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file that has been written once."""
    path = tmp_path / "file"
    replace_file(path, b"old")
    return path


def held(path: Path, sharing: int) -> Any:
    """Open a file as another program does. Return its handle."""
    return win32file.CreateFile(
        str(path), win32file.GENERIC_READ, sharing, None, win32file.OPEN_EXISTING, 0, None
    )


@pytest.mark.parametrize("step", ["fdopen", "replace"])
def test_killed_during_a_write(path: Path, step: str) -> None:
    """After TerminateProcess the old file is whole, and the next write removes remains."""
    done = subprocess.run([sys.executable, "-c", KILLED, path, step], check=False, timeout=60)
    assert done.returncode == 9
    assert path.read_bytes() == b"old"
    assert len(list(path.parent.iterdir())) == 2, "the new file is there"
    replace_file(path, b"again")
    assert path.read_bytes() == b"again"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("sharing", [0, win32file.FILE_SHARE_READ])
def test_a_file_that_another_program_holds(
    path: Path, sharing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write waits while a scanner has the file open, and raises if that takes long."""
    handle = held(path, sharing)
    threading.Timer(0.2, handle.Close).start()
    replace_file(path, b"new")
    monkeypatch.setattr(files, "BUSY_S", 0.1)
    handle = held(path, sharing)
    with pytest.raises(PermissionError):
        replace_file(path, b"newer")
    handle.Close()
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_in_place_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the file's name raises, and no temporary file is left."""
    monkeypatch.setattr(files, "BUSY_S", 0.1)
    path = tmp_path / "file"
    path.mkdir()
    with pytest.raises(PermissionError):
        replace_file(path, b"new")
    assert list(tmp_path.iterdir()) == [path]
