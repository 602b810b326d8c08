"""Key derivation is remembered over the whole run, so that tests can afford full iterations."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.pbkdf2 import derived_once

# The machines that run this are shared and slow at times: how long an example takes says nothing.
settings.register_profile(
    "project", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("project")


@pytest.fixture(scope="session", autouse=True)
def _derive_once() -> Iterator[None]:
    with derived_once():
        yield
