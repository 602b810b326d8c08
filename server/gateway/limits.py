"""How much one connection, one address and all clients together may ask of a gateway."""

from __future__ import annotations

from dataclasses import dataclass

OPEN_SECONDS = 10
"""From the connection to the end of its upgrade."""
PING_SECONDS, PONG_SECONDS = 30, 20
"""Silence after which a client is pinged, and how long it may then stay silent."""
CLOSE_SECONDS = 5
"""From the server's close frame to the end of the connection."""
UNREAD_BYTES = 64 * 1024
"""What a client may leave unread, beyond what the kernel keeps, before it is cut off."""
MAX_REFUSALS = 3
"""Refused passwords in a row after which the connection is closed."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits that an installation or a test can choose."""

    login_s: float = 20
    """From the upgrade to the first `welcome`, and from a later `hello` to its answer."""
    message_burst: int = 60
    messages_per_s: float = 2
    """Frames that a connection may send at once, and in the long run; pings and parts count."""
    connections: int = 1_000_000
    """Connections of all clients together: fewer than there are file descriptors."""
    per_address: int = 5_000
    """Connections from one address. All PCs of an organisation may come from one."""
    unproven_per_address: int = 500
    """Those of them that have not logged in yet."""
    refused_per_device: int = 10
    """Wrong passwords in 5 minutes: of one user on one known device, or else from one address."""
    refused_per_address: int = 200
    """Wrong passwords in 5 minutes from one address. Known devices are not affected."""
    refused_per_user: int = 50
    """Wrong passwords in 10 minutes for one user. Known devices are not affected."""
