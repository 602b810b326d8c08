"""Key derivation is remembered over the whole run, so that tests can afford full iterations."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest
import scramp.utils
from hypothesis import HealthCheck, settings

# The machines that run this are shared and slow at times: how long an example takes says nothing.
settings.register_profile(
    "project", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("project")


@pytest.fixture(scope="session", autouse=True)
def _derive_once() -> Iterator[None]:
    """PBKDF2 at 600,000 iterations takes 0.3 s: the same answers, each computed once."""
    original = scramp.utils.pbkdf2_hmac_hashlib
    remembered = functools.cache(original)
    scramp.utils.pbkdf2_hmac_hashlib = lambda hf, password, salt, iterations: remembered(
        hf, password, salt, int(iterations)
    )
    yield
    scramp.utils.pbkdf2_hmac_hashlib = original
