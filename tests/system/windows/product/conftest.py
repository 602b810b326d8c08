"""One Windows desktop for all tests of the product: each leaves nothing on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.wine import Desktop, signed_in


@pytest.fixture(scope="session")
def desktop(
    winpy: Path, display: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desktop]:
    """Yield a fresh Japanese Windows, signed in."""
    with signed_in(tmp_path_factory.mktemp("pc"), winpy, display, "ja") as pc:
        yield pc
