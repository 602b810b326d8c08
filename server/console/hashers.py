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
"""PBKDF2 rounds of new verifiers. May be raised at any time: see `User.check_password`."""
SALT_BYTES = 16


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
    return verifier_of(derive_keys(prepare(password), salt=salt, iterations=iterations))


def hash_in_turn(
    password: str,
    *,
    salt: bytes | None = None,
    iterations: int | None = None,
    when_idle: bool = False,
) -> Verifier:
    """Return the verifier of a typed password, hashed on the executor; `when_idle` for imports.

    Without `salt` and `iterations`, both are those of a new user. Raise UnusablePassword, or Busy
    when there are too many before it.
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
        """Return the verifier of `password`; nothing matches that of an unusable password.

        Django hashes the password of an unknown user as well, so that the time tells nothing. An
        error here would tell who exists. `passwords.py` refuses unusable passwords before that.
        """
        try:
            password = prepare(password)
        except UnusablePassword:
            password = secrets.token_urlsafe()
        return format_verifier(hash_in_turn(password, salt=b64decode(salt), iterations=iterations))

    def verify(self, password: str, encoded: str) -> bool:
        """Return whether `password` is the one; takes 0.3 s either way."""
        known = parse_verifier(encoded)
        tried = self.encode(password, b64encode(known.salt).decode(), known.iterations)
        return known.same_password(parse_verifier(tried))

    def must_update(self, encoded: str) -> bool:
        """Return whether `encoded` has fewer rounds than new verifiers have."""
        return parse_verifier(encoded).iterations < self.iterations

    def harden_runtime(self, password: str, encoded: str) -> None:
        """Spend the rounds that an older verifier lacks."""
        verifier = parse_verifier(encoded)
        missing = self.iterations - verifier.iterations
        if missing > 0:
            tried = password.encode(errors="replace")
            hashing.run(partial(hashlib.pbkdf2_hmac, "sha256", tried, verifier.salt, missing))
