"""One Windows desktop for all tests of the product; each test cleans up after itself."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.wine import Desktop, signed_in


@pytest.fixture(scope="session")
def desktop_after(
    winpy: Path, display: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[int], Desktop]]:
    """`desktop_after(failures)` returns the desktop, a new one after a further failure."""
    with ExitStack() as stack:

        @functools.cache
        def desktop_after(_failures: int) -> Desktop:
            folder = tmp_path_factory.mktemp("pc")
            return stack.enter_context(signed_in(folder, winpy, display, "ja"))

        yield desktop_after


@pytest.fixture(scope="module")
def desktop(request: pytest.FixtureRequest, desktop_after: Callable[[int], Desktop]) -> Desktop:
    """Return a Japanese Windows, signed in, without the product."""
    return desktop_after(request.session.testsfailed)
