"""The file that the running client has locked, so that one client runs for each user."""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("for Windows")

import msvcrt
import os
from pathlib import Path

LOCKED_BYTE = 1_000_000  # far behind the content, which all may read


def lock(handle: int) -> bool:
    """Lock the file until it is closed; return whether it could be locked."""
    os.lseek(handle, LOCKED_BYTE, os.SEEK_SET)
    try:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    except OSError:
        return False
    return True


def is_locked(file: Path) -> bool:
    """Return whether a client has locked the file. Only for a client that is about to lock it.

    This call holds the lock for a moment, and another client that starts just then ends.
    """
    try:
        with file.open("rb") as opened:
            return not lock(opened.fileno())
    except OSError:
        return False
