"""Key derivation is cached over the whole run, so that tests can afford full iterations."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.pbkdf2 import derived_once


@pytest.fixture(scope="session", autouse=True)
def _derive_once() -> Iterator[None]:
    with derived_once():
        yield
