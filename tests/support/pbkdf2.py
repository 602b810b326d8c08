"""Derive each key once: PBKDF2 with 600,000 iterations takes 0.3 s, and tests use few passwords."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def derived_once() -> Iterator[None]:
    """Cache what PBKDF2 returns, at full iterations, for client and server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashlib, "pbkdf2_hmac", functools.cache(hashlib.pbkdf2_hmac))
        yield
