"""Bind the sockets that the server listens on."""

from __future__ import annotations

import socket
import sys


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to the first address of `host`. Raise OSError.

    `::` takes IPv4 connections as well.
    """
    family, kind, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    # With the protocol's number, or asyncio does not set TCP_NODELAY on accepted sockets.
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
