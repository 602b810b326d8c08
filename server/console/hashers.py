"""SCRAM-SHA-256 verifiers (RFC 5802, 7677) as Django's password hashes.

The gateway checks clients against the same verifiers, so a password is hashed once per change
and never known to the server in between.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from base64 import b64decode, b64encode
from binascii import a2b_base64
from dataclasses import dataclass
from hmac import compare_digest
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any

from django.contrib.auth.hashers import BasePasswordHasher, mask_hash
from django.utils.translation import gettext_noop
from scramp import ScramException, ScramMechanism
from scramp.utils import saslprep

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

ALGORITHM = "scram_sha256"
ITERATIONS = 600_000
"""PBKDF2 rounds of new verifiers. May be raised at any time: see `User.check_password`."""
MAX_PASSWORD_LENGTH = 1024
"""In characters; what a sealed password can carry."""
SALT_BYTES = 16

_mechanism = ScramMechanism("SCRAM-SHA-256")
_cores = BoundedSemaphore(os.cpu_count() or 1)
"""Who hashes has a core, and others wait: the gateway's loop would get the processor a time slice
later for each thread more that wants it, and nobody would be done earlier."""


class UnusablePassword(ValueError):
    """A password that SCRAM cannot carry: empty, too long, or prohibited by SASLprep."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """What a server keeps of a password, and needs to check a SCRAM proof."""

    iterations: int
    salt: bytes
    stored_key: bytes
    server_key: bytes

    @classmethod
    def parse(cls, encoded: str) -> Verifier:
        """From the form in the database. Raise ValueError for anything else."""
        algorithm, iterations, *parts = encoded.split("$")
        if algorithm != ALGORITHM or len(parts) != 3:
            raise ValueError("not a SCRAM-SHA-256 verifier")
        keys = [a2b_base64(part, strict_mode=True) for part in parts]
        return cls(int(iterations), *keys)

    @classmethod
    def of(cls, password: str, *, salt: bytes, iterations: int) -> Verifier:
        """Hash `password`: about 0.3 s. Raise UnusablePassword."""
        prepared = prepare(password)
        with _cores:
            _, stored_key, server_key, _ = _mechanism.make_auth_info(prepared, iterations, salt)
        return cls(iterations, salt, stored_key, server_key)

    def format(self) -> str:
        """The form in the database."""
        parts = (b64encode(part).decode() for part in (self.salt, self.stored_key, self.server_key))
        return "$".join((ALGORITHM, str(self.iterations), *parts))

    def shares_salt(self, other: Verifier) -> bool:
        """Whether one proof can be checked against both."""
        return self.salt == other.salt and self.iterations == other.iterations

    def same_password(self, other: Verifier) -> bool:
        """Whether both are of one password; only meaningful when they share the salt."""
        return self.shares_salt(other) and compare_digest(self.stored_key, other.stored_key)

    def __repr__(self) -> str:
        return f"Verifier(iterations={self.iterations})"


def prepare(password: str) -> str:
    """SASLprep (RFC 4013). Raise UnusablePassword."""
    if len(password) <= MAX_PASSWORD_LENGTH:
        try:
            prepared = str(saslprep(password))
            prepared.encode()
        except (ScramException, UnicodeEncodeError):
            prepared = ""
        if prepared:
            return prepared
    raise UnusablePassword("this password has characters that clients cannot send")


def new_salt() -> bytes:
    """A salt for a user that has no verifier yet."""
    return secrets.token_bytes(SALT_BYTES)


class ScramSha256Hasher(BasePasswordHasher):
    """Encoded: `scram_sha256$600000$salt$stored_key$server_key`, the last three in base64."""

    algorithm = ALGORITHM
    iterations = ITERATIONS

    def salt(self) -> str:
        """A new salt in base64."""
        return b64encode(new_salt()).decode()

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        """Hash `password`; one that SCRAM cannot carry gives a verifier that nothing matches.

        Django hashes what an unknown user typed to spend the time of a known one, so an error
        here would tell who exists. `passwords.py` refuses such passwords before they come here.
        """
        try:
            password = prepare(password)
        except UnusablePassword:
            password = secrets.token_urlsafe()
        raw_salt, rounds = b64decode(salt), iterations or self.iterations
        return Verifier.of(password, salt=raw_salt, iterations=rounds).format()

    def decode(self, encoded: str) -> dict[str, Any]:
        """The parts, as Django's own hashers give them."""
        verifier = Verifier.parse(encoded)
        return {
            "algorithm": self.algorithm,
            "hash": b64encode(verifier.stored_key).decode(),
            "iterations": verifier.iterations,
            "salt": b64encode(verifier.salt).decode(),
        }

    def verify(self, password: str, encoded: str) -> bool:
        """Whether `password` is the one; about 0.3 s either way."""
        known = Verifier.parse(encoded)
        tried = self.encode(password, b64encode(known.salt).decode(), known.iterations)
        return known.same_password(Verifier.parse(tried))

    def must_update(self, encoded: str) -> bool:
        """Whether it was made with fewer rounds than new ones are."""
        return Verifier.parse(encoded).iterations < self.iterations

    def harden_runtime(self, password: str, encoded: str) -> None:
        """Spend the rounds that an older verifier lacks."""
        verifier = Verifier.parse(encoded)
        missing = self.iterations - verifier.iterations
        if missing > 0:
            tried = password.encode(errors="replace")
            with _cores:
                hashlib.pbkdf2_hmac("sha256", tried, verifier.salt, missing)

    def safe_summary(self, encoded: str) -> dict[str | StrPromise, Any]:
        """What may be shown of it."""
        decoded = self.decode(encoded)
        return {
            gettext_noop("algorithm"): decoded["algorithm"],
            gettext_noop("iterations"): decoded["iterations"],
            gettext_noop("salt"): mask_hash(decoded["salt"]),
            gettext_noop("hash"): mask_hash(decoded["hash"]),
        }
