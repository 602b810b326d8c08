"""What the machine is given once, at its start: facts about the PC, and sources of randomness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo

from protocol.messages import Device
from protocol.sealing import device_id


@dataclass(frozen=True)
class HostInfo:
    """Facts about this PC, and its sources of randomness."""

    device_name: str
    os: str
    version: str
    random: Callable[[], float]  # return a number from [0, 1)
    nonce: Callable[[], str]  # return printable ASCII without a comma, with 128 random bits or more
    machine: str = ""  # a text that no copy of this PC has; empty when none is known
    local: tzinfo | None = None  # the time zone that days are counted in; None means the PC's own

    def device(self, key: str) -> Device:
        """Return this PC as `hello` describes it, with the public half `key` of its key."""
        texts = {"name": self.device_name, "os": self.os, "version": self.version}
        return Device(id=device_id(key), public_key=key, **texts)
