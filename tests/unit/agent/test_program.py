"""The modules that the client's process imports, and when."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

IMPORTS = """
import sys
from agent.program import spare_imports, spare_platform
spare_platform()
spare_imports()
import agent.__main__, agent.app, agent.connection, agent.vault, keyring.backend
assert not {"csv", "email", "http.client"} & set(sys.modules)
import importlib.metadata, urllib.request
assert importlib.metadata.version("websockets")
if sys.version_info < (3, 12):  # later, keyring does without it
    import importlib_metadata
    assert importlib_metadata.version("websockets")
assert isinstance(urllib.request.getproxies(), dict)
"""

BEFORE_THE_ICON = """
import sys
import agent.__main__, agent.desktop, agent.tray_menu
agent.desktop._run = lambda *_, **__: print(*sys.modules)
sys.exit(agent.__main__.main(["run"]))
"""


def test_large_modules_are_imported_when_they_are_used() -> None:
    """The client starts without importing the parsers of HTTP and e-mail."""
    command = [sys.executable, "-c", IMPORTS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_icon_waits_for_no_import(tmp_path: Path) -> None:
    """The icon is shown before the modules of network, cryptography and machine are imported."""
    command = [sys.executable, "-c", BEFORE_THE_ICON]
    unmeasured = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")}
    environment = {**unmeasured, "COCONOWORK_HOME": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert "agent.tray_menu" in imported
    unwanted = {"asyncio", "hashlib", "nacl", "socket", "ssl", "agent.app", "agent.runtime"}
    assert not imported & unwanted
