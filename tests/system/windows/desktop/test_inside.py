"""The suites of `adapters/`, run by a Windows Python under Wine."""

from __future__ import annotations

from pathlib import Path

import pytest

from installer.wine import windows_path
from tests.support.places import ROOT
from tests.support.wine import Desktop

ADAPTERS = Path(__file__).parents[1] / "adapters"


@pytest.mark.timeout(600)
def test_adapters(desktop: Desktop) -> None:
    """All tests pass, in one process: to start Python with pytest takes Wine many seconds."""
    options = ["-q", "--durations=8", "-p", "no:cacheprovider", "--rootdir", windows_path(ROOT)]
    done = desktop.python("-m", "pytest", *options, windows_path(ADAPTERS), timeout_s=500)
    print(done.output)
    assert done.code == 0
