"""One Windows desktop for all tests of the product: each leaves nothing on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.wine import Desktop


@pytest.fixture(scope="session")
def desktop(
    winpy: Path, display: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desktop]:
    """Yield a fresh Japanese Windows, signed in."""
    pc = Desktop(tmp_path_factory.mktemp("pc") / "prefix", winpy, display=display, language="ja")
    pc.start()
    yield pc
    pc.close()
