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
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any

from django.contrib.auth.hashers import BasePasswordHasher, mask_hash
from django.utils.translation import gettext_noop

from protocol.names import is_password, normalise_password
from protocol.scram import Verifier, derive_keys, verifier_of

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

ALGORITHM = "scram_sha256"
ITERATIONS = 600_000
"""PBKDF2 rounds of new verifiers. May be raised at any time: see `User.check_password`."""
SALT_BYTES = 16

_cores = BoundedSemaphore(os.cpu_count() or 1)
"""Who hashes has a core, and others wait: the gateway's loop would get the processor a time slice
later for each thread more that wants it, and nobody would be done earlier."""


class UnusablePassword(ValueError):
    """A password that SCRAM cannot carry: empty, too long, or not printable ASCII."""


def parse_verifier(encoded: str) -> Verifier:
    """Return the verifier from its form in the database. Raise ValueError for anything else."""
    algorithm, iterations, *parts = encoded.split("$")
    if algorithm != ALGORITHM or len(parts) != 3:
        raise ValueError("not a SCRAM-SHA-256 verifier")
    keys = [a2b_base64(part, strict_mode=True) for part in parts]
    return Verifier(int(iterations), *keys)


def format_verifier(verifier: Verifier) -> str:
    """Return the form of a verifier in the database."""
    values = (verifier.salt, verifier.stored_key, verifier.server_key)
    parts = (b64encode(value).decode() for value in values)
    return "$".join((ALGORITHM, str(verifier.iterations), *parts))


def hash_password(password: str, *, salt: bytes, iterations: int) -> Verifier:
    """Return the verifier of a typed password. Takes 0.3 s of CPU. Raise UnusablePassword."""
    prepared = prepare(password)
    with _cores:
        return verifier_of(derive_keys(prepared, salt=salt, iterations=iterations))


def prepare(password: str) -> str:
    """Return a typed password as clients send it. Raise UnusablePassword."""
    prepared = normalise_password(password)
    if not is_password(prepared):
        raise UnusablePassword("this password has characters that clients cannot send")
    return prepared


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
        return format_verifier(hash_password(password, salt=raw_salt, iterations=rounds))

    def decode(self, encoded: str) -> dict[str, Any]:
        """The parts, as Django's own hashers give them."""
        verifier = parse_verifier(encoded)
        return {
            "algorithm": self.algorithm,
            "hash": b64encode(verifier.stored_key).decode(),
            "iterations": verifier.iterations,
            "salt": b64encode(verifier.salt).decode(),
        }

    def verify(self, password: str, encoded: str) -> bool:
        """Whether `password` is the one; about 0.3 s either way."""
        known = parse_verifier(encoded)
        tried = self.encode(password, b64encode(known.salt).decode(), known.iterations)
        return known.same_password(parse_verifier(tried))

    def must_update(self, encoded: str) -> bool:
        """Whether it was made with fewer rounds than new ones are."""
        return parse_verifier(encoded).iterations < self.iterations

    def harden_runtime(self, password: str, encoded: str) -> None:
        """Spend the rounds that an older verifier lacks."""
        verifier = parse_verifier(encoded)
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
