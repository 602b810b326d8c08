"""What the client is told once, at its start: about the PC, and where randomness comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo

from protocol.messages import Device
from protocol.sealing import device_id


@dataclass(frozen=True)
class HostInfo:
    """What the machine knows of the PC, and its sources of randomness."""

    device_name: str
    os: str
    version: str
    random: Callable[[], float]
    """From [0, 1)."""
    nonce: Callable[[], str]
    """Printable ASCII without a comma, 128 bits or more."""
    local: tzinfo | None = None
    """The time zone that days are counted in; None is the PC's."""

    def device(self, key: str) -> Device:
        """This PC as `hello` describes it, with the public half of its key."""
        return Device(
            id=device_id(key),
            public_key=key,
            name=self.device_name,
            os=self.os,
            version=self.version,
        )
