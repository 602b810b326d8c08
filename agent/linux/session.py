"""The logon session on Linux: its name, and no later sign-ins."""

from __future__ import annotations

import os
import sys

if sys.platform != "linux":
    raise ImportError("for Linux")

from collections.abc import Callable
from pathlib import Path

from agent.core.events import NetworkChanged, SignedIn, UserLeft

_NO_AUDIT_SESSION = "4294967295"


class LinuxSession:
    """Implement `agent.ports.SignInWatcher` for development: the start is the only sign-in."""

    def session(self) -> str:
        """Return a name of this boot and session, the same after a restart of the program."""
        boot = _read("/proc/sys/kernel/random/boot_id") or "unknown-boot"
        session = os.environ.get("XDG_SESSION_ID") or _audit_session() or f"leader-{os.getsid(0)}"
        return f"{boot}/{session}"[:256]

    def start(self, emit: Callable[[SignedIn | UserLeft | NetworkChanged], None]) -> None:
        """Do nothing: unlocks and network changes are watched on Windows only."""

    def stop(self) -> None:
        """Do nothing."""


def _audit_session() -> str | None:
    number = _read("/proc/self/sessionid")
    return None if number in {"", _NO_AUDIT_SESSION} else f"audit-{number}"


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
