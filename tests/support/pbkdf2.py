"""Derive each key once: PBKDF2 with 600,000 iterations takes 0.3 s, and tests use few passwords."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def derived_once(*, rounds: int | None = None) -> Iterator[None]:
    """Cache the results of PBKDF2 in client and server; `rounds` replaces the iterations."""
    original = hashlib.pbkdf2_hmac

    @functools.cache
    def derive(
        name: str, password: bytes, salt: bytes, iterations: int, dklen: int | None = None
    ) -> bytes:
        return original(name, password, salt, rounds or iterations, dklen)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashlib, "pbkdf2_hmac", derive)
        yield
