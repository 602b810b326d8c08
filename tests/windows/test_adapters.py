"""Runs `adapters/` inside Windows, with the contract suites on the real adapters."""

from __future__ import annotations

import re

import pytest

from installer.wine import windows_path
from tests.windows.wine import INSIDE, Desktop

ADAPTERS = INSIDE.parent / "adapters"
FILES = sorted(path.name for path in ADAPTERS.glob("test_*.py"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", FILES)
def test_adapter_on_windows(desktop: Desktop, name: str) -> None:
    """All tests of the file pass under the Windows Python, and none is left out."""
    done = desktop.pytest(windows_path(ADAPTERS / name), timeout_s=280)
    assert done.code == 0, done.output
    assert re.search(r"^\d+ passed in", done.output, re.MULTILINE), done.output
