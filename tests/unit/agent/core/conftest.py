"""The core's tests derive keys in no time: it never looks at what was derived."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.pbkdf2 import derived_once


@pytest.fixture(scope="module", autouse=True)
def _one_round() -> Iterator[None]:
    with derived_once(rounds=1):
        yield
