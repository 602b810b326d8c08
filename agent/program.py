"""This program as a process: how it starts itself again, and one heap for all its threads."""

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
    """The command, to which arguments are added."""
    if getattr(sys, "frozen", False):
        return [sys.executable]
    return [sys.executable, "-m", "agent"]


def program_dir() -> Path:
    """Where it has to be started: Python takes modules from there, Windows libraries."""
    if getattr(sys, "frozen", False):
        return Path(sys.executable).parent
    return Path(__file__).resolve().parents[1]


def share_one_heap() -> None:
    """glibc would give each thread a heap of its own, with room of its own; first of all."""
    if sys.platform == "linux":
        import ctypes

        with suppress(AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
