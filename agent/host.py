"""Facts about this PC: for the server, and to tell a copy of the PC from the original."""

from __future__ import annotations

import hashlib
import random
import secrets
import socket
import sys
from pathlib import Path

from agent import __version__
from agent.core.host_info import HostInfo
from agent.program import os_name
from agent.settings import Registry, read_registry
from protocol.text import clean

_MACHINE_ID = Path("/etc/machine-id")
_IN_REGISTRY = (
    (r"SOFTWARE\Microsoft\Cryptography", "MachineGuid"),  # made by the installation of Windows
    (r"SYSTEM\HardwareConfig", "LastConfig"),  # the UUID of the mainboard or virtual machine
)


def host_info() -> HostInfo:
    """Return facts about this PC, and sources of randomness."""
    return HostInfo(
        device_name=clean(socket.gethostname(), 128) or "PC",
        os=clean(os_name(), 128),
        version=__version__,
        random=random.random,
        nonce=lambda: secrets.token_urlsafe(24),
        machine=machine_id(),
    )


def machine_id(*, registry: Registry = read_registry) -> str:
    """Return a digest that no other PC has, not even a copy of this one; empty if not known."""
    if sys.platform == "linux":
        try:
            facts = [_MACHINE_ID.read_text("ascii", "replace").strip()]
        except OSError:
            facts = []
    else:
        found = [(name, values) for key, name in _IN_REGISTRY for _, values in registry(key)]
        facts = [str(values[name]) for name, values in found if name in values]
    return hashlib.sha256("|".join(facts).encode()).hexdigest()[:32] if any(facts) else ""
