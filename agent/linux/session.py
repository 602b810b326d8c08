"""The logon session on Linux: its name, and no later sign-ins."""

from __future__ import annotations

import os
import sys

if sys.platform != "linux":
    raise ImportError("for Linux")

from collections.abc import Callable
from pathlib import Path

from agent.core.events import Event


class LinuxSession:
    """Implement `agent.ports.SignInWatcher` for development: the start is the only sign-in."""

    def session(self) -> str:
        """Return a name of this boot and session, the same after a restart of the program."""
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.environ.get('XDG_SESSION_ID') or os.getsid(0)}"[:256]

    def start(self, emit: Callable[[Event], None]) -> None:
        """Do nothing: unlocks and network changes are watched on Windows only."""

    def keep_awake(self, wanted: bool, /) -> None:  # noqa: FBT001 - the port's
        """Do nothing: only an office PC on Windows is kept awake."""

    def stop(self) -> None:
        """Do nothing."""
