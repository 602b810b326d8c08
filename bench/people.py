"""Who there is in the benches: numbered users with one password, each with a numbered PC.

They share a salt, so that the 0.3 s of key derivation are spent once for all of them.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
from base64 import b64encode
from dataclasses import dataclass

from protocol.messages import Device, Hello, encode

PASSWORD = "Passw0rd!"
SALT = b"a salt for bench"
ITERATIONS = 600_000
ADMINISTRATOR = "admin"


@dataclass(frozen=True)
class Keys:
    """What PBKDF2 gives for the one password."""

    client: bytes
    stored: bytes
    server: bytes


@functools.cache
def keys() -> Keys:
    """Derived once a process; RFC 5802, section 3."""
    salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), SALT, ITERATIONS)
    client = hmac.digest(salted, b"Client Key", "sha256")
    return Keys(
        client, hashlib.sha256(client).digest(), hmac.digest(salted, b"Server Key", "sha256")
    )


def username(number: int) -> str:
    """Of the user with this number."""
    return f"user{number:06d}"


def public_key(number: int) -> bytes:
    """Of the PC with this number. Nobody has the private one: nothing here opens a push."""
    return hashlib.sha256(b"PC %d" % number).digest()


def device_id(number: int) -> str:
    """Of the PC with this number."""
    return hashlib.sha256(public_key(number)).digest()[:16].hex()


def hello(user: str, number: int, nonce: str) -> tuple[str, bytes]:
    """SCRAM client-first without its header, and the message that it goes in."""
    bare = f"n={user},r={nonce}"
    device = Device(
        id=device_id(number),
        public_key=b64encode(public_key(number)).decode(),
        name=f"PC-{number}",
        os="Windows 11",
        version="1.0.0",
    )
    return bare, encode(Hello(scram=f"n,,{bare}", device=device))
