"""The core's tests derive keys with one round, to save time: the core never reads them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.pbkdf2 import derived_once


@pytest.fixture(scope="module", autouse=True)
def _one_round() -> Iterator[None]:
    with derived_once(rounds=1):
        yield
