"""The server's side of one SCRAM-SHA-256 login, over all verifiers that a user has.

No socket, clock or database: `store.py` says which verifiers there are, `session.py` talks.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from nacl.exceptions import CryptoError
from nacl.public import PublicKey, SealedBox
from scramp import ScramException, ScramMechanism
from scramp.core import ScramServer
from scramp.utils import ServerError

from agent.core import messages
from server.console import hashers
from server.console.hashers import Verifier

MIN_CHECKS = 4
"""A wrong proof is checked this often at least, so that time does not tell who exists."""

_mechanism = ScramMechanism("SCRAM-SHA-256")


class LoginError(Exception):
    """The client broke the protocol, which ends the connection. Holds nothing of the payload."""


@dataclass(frozen=True)
class Candidate:
    """A verifier that a proof may be made with. `since` names it among the user's."""

    verifier: Verifier
    since: datetime
    valid_until: datetime | None = None


@dataclass(frozen=True)
class Proven:
    """A right proof: which password it was made with, and SCRAM server-final."""

    candidate: Candidate
    server_final: str


def username_of(client_first: str) -> str:
    """The user name after SASLprep. Raise LoginError for anything but a SCRAM client-first."""
    seen: list[str] = []

    def note(username: str) -> tuple[bytes, bytes, bytes, int]:
        seen.append(username)
        return b"-" * hashers.SALT_BYTES, b"", b"", hashers.ITERATIONS

    try:
        _mechanism.make_server(note, s_nonce="-").set_client_first(client_first)
    except (ScramException, ValueError):
        raise LoginError("malformed SCRAM client-first") from None
    return seen[0]


def made_up(username: str, secret: bytes) -> Verifier:
    """A verifier that nothing matches, with a salt that is always the same for `username`."""
    salt = hmac.digest(secret, username.encode(), "sha256")[: hashers.SALT_BYTES]
    return Verifier(hashers.ITERATIONS, salt, secrets.token_bytes(32), secrets.token_bytes(32))


class Login:
    """`challenge`, then `check`, each once."""

    def __init__(self, client_first: str, candidates: Sequence[Candidate]) -> None:
        """`candidates` share salt and iteration count and are tried in their order."""
        self._client_first = client_first
        self._candidates = candidates
        self._nonce = secrets.token_urlsafe(24)
        self._first_server, self.challenge = self._begin(candidates[0].verifier)

    def check(self, client_final: str) -> Proven | None:
        """None when the proof fits no candidate. Raise LoginError for a malformed one."""
        server = self._first_server
        for number, candidate in enumerate(self._candidates):
            if number:
                server, _ = self._begin(candidate.verifier)
            server_final = _finish(server, client_final)
            if server_final is not None:
                return Proven(candidate, server_final)
        for _ in range(MIN_CHECKS - len(self._candidates)):
            server, _ = self._begin(self._candidates[0].verifier)
            _finish(server, client_final)
        return None

    def _begin(self, known: Verifier) -> tuple[ScramServer, str]:
        """All have the same nonce, so they give the same challenge."""
        server = _mechanism.make_server(
            lambda _: (known.salt, known.stored_key, known.server_key, known.iterations),
            s_nonce=self._nonce,
        )
        try:
            server.set_client_first(self._client_first)
            return server, str(server.get_server_first())
        except (ScramException, ValueError):
            raise LoginError("malformed SCRAM client-first") from None


def _finish(server: ScramServer, client_final: str) -> str | None:
    """SCRAM server-final; None for a proof that does not fit. Raise LoginError."""
    try:
        server.set_client_final(client_final)
        return str(server.get_server_final())
    except ScramException as exc:
        if exc.server_error is ServerError.INVALID_PROOF:
            return None
        raise LoginError("malformed SCRAM client-final") from None
    except ValueError:
        raise LoginError("malformed SCRAM client-final") from None


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
