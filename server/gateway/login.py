"""What the gateway decides about a login without a database: versions, and unknown users.

The formulas of SCRAM are in `protocol/scram.py`; `records.py` finds a user's verifiers.
"""

from __future__ import annotations

import hmac
import re
import secrets
from datetime import datetime

import msgspec

from protocol.scram import Verifier
from server.console import hashers


class LoginError(Exception):
    """The client broke the order of a login. The text quotes nothing of what it sent."""


class VerifierCandidate(msgspec.Struct, frozen=True, gc=False):
    """A verifier that a proof may fit. `since` names it among the user's."""

    verifier: Verifier
    since: datetime


def made_up(username: str, secret: bytes) -> Verifier:
    """Return a verifier that no proof fits. Its salt is always the same for a `username`."""
    salt = hmac.digest(secret, username.encode(), "sha256")[: hashers.SALT_BYTES]
    return Verifier(hashers.ITERATIONS, salt, secrets.token_bytes(32), secrets.token_bytes(32))


def is_too_old(version: str, minimum: str) -> bool:
    """Return whether a client's version is before `minimum`; one without numbers is."""
    if not minimum:
        return False
    numbers = re.match(r"\d{1,9}(?:\.\d{1,9}){0,7}", version, re.ASCII)
    return numbers is None or _numbers(numbers[0]) < _numbers(minimum)


def _numbers(version: str) -> list[int]:
    numbers = [int(part) for part in version.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return numbers
