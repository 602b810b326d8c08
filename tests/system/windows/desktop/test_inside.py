"""The suites of `adapters/`, run by a Windows Python under Wine."""

from __future__ import annotations

from pathlib import Path

import pytest

from installer.wine import windows_path
from tests.support.places import ROOT
from tests.support.wine import signed_in

ADAPTERS = Path(__file__).parents[1] / "adapters"


@pytest.mark.timeout(600)
def test_adapters(winpy: Path, display: str, tmp_path: Path) -> None:
    """All tests pass, in one process, because Python with pytest starts slowly under Wine."""
    options = ["-q", "--durations=8", "-p", "no:cacheprovider", "--rootdir", windows_path(ROOT)]
    with signed_in(tmp_path, winpy, display, "ja") as desktop:
        done = desktop.python("-m", "pytest", *options, windows_path(ADAPTERS), timeout_s=500)
    print(done.output)
    assert done.code == 0
