"""Make the event loop of a gateway, tune the interpreter for it, and bind the server's sockets."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys

GC_THRESHOLDS = (10_000, 1_000, 100)
"""Collecting the youngest generation takes about a millisecond for so many objects. Collecting the
oldest takes half a second for ten thousand clients, so it is very rare. A closed connection leaves
nothing to collect (`test_gateway_connections.py`)."""
SWITCH_SECONDS = 0.0005
"""How long a busy loop may delay a thread that has got an answer from the database."""


def new_loop() -> asyncio.AbstractEventLoop:
    """Return uvloop's loop, which takes half of the CPU, or asyncio's where there is no uvloop."""
    try:
        import uvloop
    except ImportError:  # on Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def tune() -> None:
    """Tune the interpreter. Call once, after set-up: objects of that time are never collected."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    sys.setswitchinterval(SWITCH_SECONDS)


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to the first address of `host`; `::` takes IPv4, too. Raise OSError."""
    family, kind, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    # Without the protocol's number, asyncio does not set TCP_NODELAY on accepted sockets.
    bound = socket.socket(family, kind, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address[0] != "::")
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound
