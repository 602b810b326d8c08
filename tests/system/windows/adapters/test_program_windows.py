"""The program as a process on Windows."""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("for Windows")

import subprocess

IMPORTS = """
import subprocess
def refuse(*_, **__): raise AssertionError("a program is started")
subprocess.check_output = refuse
from agent.program import os_name, spare_platform
spare_platform()
import uuid, agent.connection, agent.vault, keyring.backends.Windows
print(os_name())
"""


def test_windows_is_known_without_a_program() -> None:
    """Neither the client nor its libraries start `cmd /c ver` for the version of Windows."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "Windows 10"
