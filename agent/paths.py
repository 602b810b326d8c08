"""Where the client keeps its files: the platform's places, or all below `COCONOWORK_HOME`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

NAME = "coconowork"


@dataclass(frozen=True)
class Paths:
    """Nothing is made here; whoever writes makes the directory, for this user only."""

    config_file: Path
    state_dir: Path
    log_dir: Path
    runtime_dir: Path

    @property
    def log_file(self) -> Path:
        return self.log_dir / "client.log"


def find_paths(environ: Mapping[str, str] = os.environ) -> Paths:
    """`COCONOWORK_HOME` makes a profile of its own, beside which another client can run."""
    if home := environ.get("COCONOWORK_HOME"):
        root = Path(home).expanduser().absolute()
        return Paths(root / "client.toml", root / "state", root / "log", root / "run")
    config = platformdirs.user_config_path(NAME, appauthor=False)
    # On Windows configuration and state share a directory.
    state = platformdirs.user_state_path(NAME, appauthor=False) / "state"
    log = platformdirs.user_log_path(NAME, appauthor=False)
    runtime = state / "run"
    if sys.platform == "linux" and environ.get("XDG_RUNTIME_DIR"):
        # Without it platformdirs would take /tmp, where others could be there first.
        runtime = platformdirs.user_runtime_path(NAME, appauthor=False)
    return Paths(config / "client.toml", state, log, runtime)


def make_private(directory: Path) -> None:
    """Make `directory` where it is missing, and keep other users out. Raise OSError."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if sys.platform != "win32" and directory.stat().st_mode & 0o077:
        directory.chmod(0o700)
