"""The X display of the dialogs' tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.x11 import screen


@pytest.fixture(scope="module")
def display() -> Iterator[None]:
    with screen() as name, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISPLAY", name)
        patch.setenv("LC_ALL", "C.UTF-8")
        yield
