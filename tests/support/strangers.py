"""Run code as another user of this PC: the process gives up root first."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

OTHER_USER = 65534
OWNER = 54321
"""A user id that the machine does not use, for a client without root."""
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")

BECOME = """
import ctypes, json, os, pathlib, socket, sys
user = int(sys.argv.pop(1))
os.setgroups([])
os.setgid(user)
os.setuid(user)
# Changing the user has made the process undumpable; begin as one that was started so.
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
"""


def command_as(user: int, code: str, *arguments: str) -> list[str]:
    """Return the command that runs `code` as `user`, in whose process imports may fail."""
    return [sys.executable, "-c", f"{BECOME}\n{code}", str(user), *arguments]


def said_by(user: int, code: str, *arguments: str) -> str:
    """Run `code` as `user`. Return what it prints."""
    command = command_as(user, code, *arguments)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
