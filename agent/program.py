"""The program as a process: the command that starts it, and its heap."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

_M_ARENA_MAX = -8

if sys.platform == "win32":
    CREATION_FLAGS = subprocess.CREATE_NO_WINDOW
else:
    CREATION_FLAGS = 0


def program() -> list[str]:
    """Return the command that starts this program, without arguments."""
    if getattr(sys, "frozen", False):
        return [sys.executable]
    return [sys.executable, "-m", "agent"]


def program_dir() -> Path:
    """Return the folder to start it in: Python finds its modules there, Windows its libraries."""
    if getattr(sys, "frozen", False):
        return Path(sys.executable).parent
    return Path(__file__).resolve().parents[1]


def share_one_heap() -> None:
    """Make all threads share one heap; call it first. glibc gives each thread another one."""
    if sys.platform == "linux":
        import ctypes

        with suppress(AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
