"""The program as a process."""

from __future__ import annotations

import subprocess
import sys

IMPORTS = """
import sys
from agent.program import spare_imports, spare_platform
spare_platform()
spare_imports()
import agent.__main__, agent.app, agent.connection, agent.vault, keyring.backend
assert not {"csv", "email", "http.client"} & set(sys.modules)
import importlib.metadata, importlib_metadata, urllib.request
assert importlib.metadata.version("websockets") == importlib_metadata.version("websockets")
assert isinstance(urllib.request.getproxies(), dict)
"""


def test_large_modules_are_imported_when_they_are_used() -> None:
    """The client starts without the parsers of HTTP and e-mail, which libraries may use later."""
    command = [sys.executable, "-c", IMPORTS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
