"""Keep SCRAM-SHA-256 verifiers (RFC 5802, RFC 7677) as Django's password hashes.

The gateway checks clients against the same verifiers, so one hash serves console and clients.
"""

from __future__ import annotations

import hashlib
import secrets
from base64 import b64decode, b64encode
from binascii import a2b_base64
from functools import partial

from django.contrib.auth.hashers import BasePasswordHasher

from protocol.names import is_password, normalise_password
from protocol.scram import Verifier, derive_keys, verifier_of
from server.console import hashing

ALGORITHM = "scram_sha256"
ITERATIONS = 600_000
"""PBKDF2 rounds of new verifiers. The number may be raised later: see `User.check_password`."""
SALT_BYTES = 16


class UnusablePassword(ValueError):
    """Raised for a password that SCRAM cannot use: empty, too long, or not printable ASCII."""


def parse_verifier(encoded: str) -> Verifier:
    """Parse a verifier in the database's format. Raise ValueError for any other text."""
    algorithm, iterations, *parts = encoded.split("$")
    if algorithm != ALGORITHM or len(parts) != 3:
        raise ValueError("not a SCRAM-SHA-256 verifier")
    keys = [a2b_base64(part, strict_mode=True) for part in parts]
    return Verifier(int(iterations), *keys)


def format_verifier(verifier: Verifier) -> str:
    """Return a verifier in the database's format."""
    values = (verifier.salt, verifier.stored_key, verifier.server_key)
    parts = (b64encode(value).decode() for value in values)
    return "$".join((ALGORITHM, str(verifier.iterations), *parts))


def hash_password(password: str, *, salt: bytes, iterations: int) -> Verifier:
    """Return the verifier of a typed password, in 0.3 s of CPU time. Raise UnusablePassword."""
    return verifier_of(derive_keys(prepare(password), salt=salt, iterations=iterations))


def hash_in_turn(
    password: str,
    *,
    salt: bytes | None = None,
    iterations: int | None = None,
    when_idle: bool = False,
) -> Verifier:
    """Return the verifier of a typed password, hashed on the executor; `when_idle` for imports.

    Without `salt` and `iterations`, use a new salt and `ITERATIONS`. Raise UnusablePassword, or
    Busy when the queue is full.
    """
    salt, iterations = salt or secrets.token_bytes(SALT_BYTES), iterations or ITERATIONS
    work = partial(hash_password, prepare(password), salt=salt, iterations=iterations)
    return hashing.run(work, when_idle=when_idle)


def prepare(password: str) -> str:
    """Return a typed password as clients send it. Raise UnusablePassword."""
    prepared = normalise_password(password)
    if not is_password(prepared):
        raise UnusablePassword("this password has characters that clients cannot send")
    return prepared


class ScramSha256Hasher(BasePasswordHasher):
    """Encode as `scram_sha256$600000$salt$stored_key$server_key`, the last three in base64."""

    algorithm = ALGORITHM
    iterations = ITERATIONS

    def salt(self) -> str:
        """Return a new salt in base64."""
        return b64encode(secrets.token_bytes(SALT_BYTES)).decode()

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        """Return the verifier of `password`; for an unusable password, one that nothing matches.

        Django hashes the password of an unknown user as well, so that the time tells nothing. An
        error here would tell which users exist. `passwords.py` refuses unusable passwords earlier.
        """
        try:
            password = prepare(password)
        except UnusablePassword:
            password = secrets.token_urlsafe()
        return format_verifier(hash_in_turn(password, salt=b64decode(salt), iterations=iterations))

    def verify(self, password: str, encoded: str) -> bool:
        """Return whether `password` matches the verifier `encoded`; takes 0.3 s in both cases."""
        known = parse_verifier(encoded)
        tried = self.encode(password, b64encode(known.salt).decode(), known.iterations)
        return known.same_password(parse_verifier(tried))

    def must_update(self, encoded: str) -> bool:
        """Return whether `encoded` has fewer rounds than new verifiers have."""
        return parse_verifier(encoded).iterations < self.iterations

    def harden_runtime(self, password: str, encoded: str) -> None:
        """Compute the rounds that an older verifier lacks: all logins must take the same time."""
        verifier = parse_verifier(encoded)
        missing = self.iterations - verifier.iterations
        if missing > 0:
            tried = password.encode(errors="replace")
            hashing.run(partial(hashlib.pbkdf2_hmac, "sha256", tried, verifier.salt, missing))
