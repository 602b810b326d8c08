"""The server's side of one SCRAM-SHA-256 login, over all verifiers that a user has.

No socket, clock or database: `records.py` says which verifiers there are, `session.py` talks. It is
written out here because a storm of reconnects spends its time in it: a library that parses every
message anew for every verifier takes ten times as long.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import datetime

import msgspec
from nacl.exceptions import CryptoError
from nacl.public import PublicKey, SealedBox

from agent.core import messages
from agent.core.saslprep import saslprep
from server.console import hashers
from server.console.hashers import Verifier

MIN_CHECKS = 4
"""A wrong proof is checked this often at least, so that time does not tell who exists."""

# RFC 5802, section 7. Extensions are passed over, as long as they are none of the RFC's own.
_EXTENSIONS = r"(?:,(?![anmrcsipve]=)[A-Za-z]=[^,\0]+)*"
_first = re.compile(r"([ny],,)(n=([^,\0]+),r=([\x21-\x2b\x2d-\x7e]+)" + _EXTENSIONS + ")")
_final = re.compile(r"(c=([^,]+),r=([^,]+)" + _EXTENSIONS + r"),p=([A-Za-z0-9+/]+={0,2})")
_not_escaped = re.compile(r"=(?!2C|3D)")


class LoginError(Exception):
    """The client broke the protocol, which ends the connection. Holds nothing of the payload."""


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """A verifier that a proof may be made with. `since` names it among the user's."""

    verifier: Verifier
    since: datetime
    valid_until: datetime | None = None


class Proven(msgspec.Struct, frozen=True, gc=False):
    """A right proof: which password it was made with, and SCRAM server-final."""

    candidate: Candidate
    server_final: str


class ClientFirst(msgspec.Struct, frozen=True, gc=False):
    """SCRAM client-first. `username` is after SASLprep; the rest is as it came."""

    username: str
    header: str
    bare: str
    nonce: str

    @classmethod
    def parse(cls, text: str) -> ClientFirst:
        """Raise LoginError for anything else."""
        match = _first.fullmatch(text)
        if match is None:
            raise LoginError("malformed SCRAM client-first")
        header, bare, name, nonce = match.groups()
        try:
            bare.encode()
            username = saslprep(_unescaped(name))
        except ValueError:  # UnicodeEncodeError is one
            username = ""
        if not username:
            raise LoginError("malformed SCRAM client-first")
        return cls(username, header, bare, nonce)


def _unescaped(name: str) -> str:
    if _not_escaped.search(name):
        raise ValueError("neither =2C nor =3D")
    return name.replace("=2C", ",").replace("=3D", "=")


def made_up(username: str, secret: bytes) -> Verifier:
    """A verifier that nothing matches, with a salt that is always the same for `username`."""
    salt = hmac.digest(secret, username.encode(), "sha256")[: hashers.SALT_BYTES]
    return Verifier(hashers.ITERATIONS, salt, secrets.token_bytes(32), secrets.token_bytes(32))


class Login:
    """`challenge`, then `check`."""

    __slots__ = ("_binding", "_candidates", "_nonce", "_until_final", "challenge")

    def __init__(self, first: ClientFirst, candidates: Sequence[Candidate]) -> None:
        """`candidates` share salt and iteration count and are tried in their order."""
        verifier = candidates[0].verifier
        salt = b64encode(verifier.salt).decode()
        self._candidates = candidates
        self._nonce = first.nonce + secrets.token_urlsafe(24)
        self._binding = b64encode(first.header.encode()).decode()
        self.challenge = f"r={self._nonce},s={salt},i={verifier.iterations}"
        self._until_final = f"{first.bare},{self.challenge},"

    def check(self, client_final: str) -> Proven | None:
        """None when the proof fits no candidate. Raise LoginError for a malformed one."""
        match = _final.fullmatch(client_final)
        if match is None or (match[2], match[3]) != (self._binding, self._nonce):
            raise LoginError("malformed SCRAM client-final")
        try:
            signed = (self._until_final + match[1]).encode()
            proof = b64decode(match[4])
        except ValueError:
            raise LoginError("malformed SCRAM client-final") from None
        for candidate in self._candidates:
            if _fits(candidate.verifier, signed, proof):
                signature = _hmac(candidate.verifier.server_key, signed)
                return Proven(candidate, f"v={b64encode(signature).decode()}")
        for _ in range(MIN_CHECKS - len(self._candidates)):
            _fits(self._candidates[0].verifier, signed, proof)
        return None


def _hmac(key: bytes, text: bytes) -> bytes:
    """Not `hmac.digest`, which lets the database's threads have the interpreter for every call."""
    return hmac.new(key, text, "sha256").digest()


def _fits(known: Verifier, signed: bytes, proof: bytes) -> bool:
    """Whether the proof was made with the password of this verifier."""
    signature = _hmac(known.stored_key, signed)
    mixed = int.from_bytes(signature) ^ int.from_bytes(proof[:32])
    key = hashlib.sha256(mixed.to_bytes(32)).digest()
    return hmac.compare_digest(key, known.stored_key) and len(proof) == len(signature)


def check_device(device: messages.Device) -> None:
    """Raise LoginError unless the device's id belongs to its key."""
    key = b64decode(device.public_key)
    if b64encode(key).decode() != device.public_key:
        raise LoginError("public key in non-canonical base64")
    if hashlib.sha256(key).digest()[:16].hex() != device.id:
        raise LoginError("device id that does not belong to its key")


def check_key(device: messages.Device) -> None:
    """Raise LoginError unless a password can be sealed for the device; 0.1 ms."""
    try:
        SealedBox(PublicKey(b64decode(device.public_key))).encrypt(b"")
    except CryptoError:
        # A point of low order: sealing for it would make the user's next change fail.
        raise LoginError("public key that nothing can be sealed for") from None


def is_too_old(version: str, minimum: str) -> bool:
    """Whether a client's version is before `minimum`; one without numbers is."""
    if not minimum:
        return False
    numbers = re.match(r"\d{1,9}(?:\.\d{1,9}){0,7}", version, re.ASCII)
    return numbers is None or _numbers(numbers[0]) < _numbers(minimum)


def _numbers(version: str) -> list[int]:
    numbers = [int(part) for part in version.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return numbers
