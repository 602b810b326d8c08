"""Derives each key once: PBKDF2 at 600,000 iterations takes 0.3 s, and tests use few passwords."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def derived_once() -> Iterator[None]:
    """The same answers at full iterations, on either side, remembered."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashlib, "pbkdf2_hmac", functools.cache(hashlib.pbkdf2_hmac))
        yield
