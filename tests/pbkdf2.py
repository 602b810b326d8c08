"""Derives each key once: PBKDF2 at 600,000 iterations takes 0.3 s, and tests use few passwords."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import scramp.utils


@contextmanager
def derived_once() -> Iterator[None]:
    """The same answers at full iterations, on either side, remembered."""
    original = scramp.utils.pbkdf2_hmac_hashlib
    remembered = functools.cache(original)
    scramp.utils.pbkdf2_hmac_hashlib = lambda hf, password, salt, iterations: remembered(
        hf, password, salt, int(iterations)
    )
    yield
    scramp.utils.pbkdf2_hmac_hashlib = original
