"""Find a free port."""

from __future__ import annotations

import random
import socket


def free_port() -> int:
    """Return a loopback port that is free now, outside the range that the system gives out."""
    while True:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
