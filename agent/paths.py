"""The places of the client's files: the platform's, or all below `COCONOWORK_HOME`."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

NAME = "coconowork"
ASSETS = Path(__file__).resolve().with_name("assets")  # in the frozen program, too


@dataclass(frozen=True)
class Paths:
    """The client's places. The code that writes into a directory creates it, for this user only."""

    config_file: Path
    state_dir: Path
    log_dir: Path

    @property
    def lock_file(self) -> Path:
        """The file that the running client has locked, on Windows only."""
        return self.state_dir / "client.lock"

    @property
    def log_file(self) -> Path:
        return self.log_dir / "client.log"


def find_paths(environ: Mapping[str, str] = os.environ) -> Paths:
    """Return the places. Clients with different `COCONOWORK_HOME` can run side by side."""
    if home := environ.get("COCONOWORK_HOME"):
        root = Path(home).expanduser().absolute()
        return Paths(root / "client.toml", root / "state", root / "log")
    import platformdirs

    config = platformdirs.user_config_path(NAME, appauthor=False)
    # On Windows configuration and state share a directory.
    state = platformdirs.user_state_path(NAME, appauthor=False) / "state"
    log = platformdirs.user_log_path(NAME, appauthor=False)
    return Paths(config / "client.toml", state, log)


def make_private(directory: Path) -> None:
    """Create `directory` for this user only. Raise OSError, also if it belongs to another user."""
    missing = [each for each in (directory, *directory.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
    if sys.platform != "win32":
        facts = directory.stat()
        if facts.st_uid != os.getuid():
            raise PermissionError(errno.EPERM, "belongs to another user", str(directory))
        if facts.st_mode & 0o077:
            directory.chmod(0o700)
