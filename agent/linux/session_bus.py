"""Connections to the user's D-Bus on which no wait is without end."""

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
    """Raises TimeoutError from whatever would wait past its deadline."""

    def __init__(self, address: str, timeout_s: float) -> None:
        self._deadline = monotonic() + timeout_s
        super().__init__(prep_socket(address, timeout=AUTH_TIMEOUT_S))

    def allow(self, timeout_s: float) -> None:
        """From now on the deadline is `timeout_s` away."""
        self._deadline = monotonic() + timeout_s

    def receive(self, *, timeout: float | None = None) -> Message:
        left = max(self._deadline - monotonic(), 0)
        return super().receive(timeout=left if timeout is None else min(timeout, left))


def session_bus(environ: Mapping[str, str] = os.environ) -> str:
    """The session bus's address. Raise BusError when there is none that could be reached."""
    named = environ.get("DBUS_SESSION_BUS_ADDRESS")
    if not named and (runtime := environ.get("XDG_RUNTIME_DIR")):
        # systemd's place for it, for programs that were started without the variable.
        named = f"unix:path={runtime}/bus"
    if not named:
        raise BusError("DBUS_SESSION_BUS_ADDRESS is not set")
    try:
        get_bus(named)
    except (RuntimeError, ValueError):
        raise BusError("DBUS_SESSION_BUS_ADDRESS names no bus that can be reached") from None
    return named


def connect(timeout_s: float) -> BoundedConnection:
    """A connection of which everything must be done within `timeout_s`. Raise BusError."""
    try:
        return BoundedConnection(get_bus(session_bus()), timeout_s)
    except (OSError, EOFError) as exc:
        raise BusError(f"no session bus: {type(exc).__name__}") from None
