"""Define the users of the benches: numbered, with one password, each with a PC of that number.

All verifiers share one salt, so the 0.3 s of key derivation are needed only once for all users.
"""

from __future__ import annotations

import functools
import hashlib
from base64 import b64encode

from protocol.messages import Device
from protocol.scram import Keys, derive_keys

PASSWORD = "Passw0rd!"
ADMINISTRATOR = "admin"


@functools.cache
def keys() -> Keys:
    """Return the keys of PASSWORD, derived once in each process."""
    return derive_keys(PASSWORD, salt=b"a salt for bench", iterations=600_000)


def username(number: int) -> str:
    """Return the name of the user with this number."""
    return f"user{number:06d}"


def device(number: int) -> Device:
    """Return the PC with this number. Its public key has no known private key."""
    public_key = hashlib.sha256(b"PC %d" % number).digest()
    return Device(
        id=hashlib.sha256(public_key).digest()[:16].hex(),
        public_key=b64encode(public_key).decode(),
        name=f"PC-{number}",
        os="Windows 11",
        version="1.0.0",
    )
