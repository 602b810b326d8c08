"""Connections to the user's D-Bus whose every wait has a deadline."""

from __future__ import annotations

import os
from collections.abc import Mapping
from time import monotonic

from jeepney import Message
from jeepney.bus import get_bus
from jeepney.io.blocking import DBusConnection, prep_socket

AUTH_TIMEOUT_S = 2.0


class BusError(ConnectionError):
    """There is no session bus, or it cannot be reached."""


class BoundedConnection(DBusConnection):  # type: ignore[misc] # jeepney has no types
    """Raise TimeoutError from every call that would wait past the deadline."""

    def __init__(self, address: str, timeout_s: float) -> None:
        self._deadline: float | None = monotonic() + timeout_s
        super().__init__(prep_socket(address, timeout=AUTH_TIMEOUT_S))

    def allow(self, timeout_s: float | None) -> None:
        """Set the deadline to `timeout_s` from now, None for no deadline."""
        self._deadline = None if timeout_s is None else monotonic() + timeout_s

    def receive(self, *, timeout: float | None = None) -> Message:
        if self._deadline is not None:
            left_s = max(self._deadline - monotonic(), 0)
            timeout = left_s if timeout is None else min(timeout, left_s)
        return super().receive(timeout=timeout)


def session_bus(environ: Mapping[str, str] = os.environ) -> str:
    """Return the session bus's address. Raise BusError when there is none."""
    named = environ.get("DBUS_SESSION_BUS_ADDRESS")
    if not named and (runtime := environ.get("XDG_RUNTIME_DIR")):
        # systemd puts the bus there, also for programs that were started without the variable.
        named = f"unix:path={runtime}/bus"
    if not named:
        raise BusError("DBUS_SESSION_BUS_ADDRESS is not set")
    try:
        get_bus(named)
    except (RuntimeError, ValueError):
        raise BusError("DBUS_SESSION_BUS_ADDRESS names no bus that can be reached") from None
    return named


def connect(timeout_s: float) -> BoundedConnection:
    """Return a connection whose deadline is `timeout_s` from now. Raise BusError."""
    try:
        return BoundedConnection(get_bus(session_bus()), timeout_s)
    except (OSError, EOFError) as exc:
        raise BusError(f"no session bus: {type(exc).__name__}") from None
