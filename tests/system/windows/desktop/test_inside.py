"""The suites of `adapters/`, and of damaged files, run by a Windows Python under Wine."""

from __future__ import annotations

from pathlib import Path

import pytest

from installer.wine import windows_path
from tests.support.places import ROOT
from tests.support.wine import Desktop

SUITES = [
    *sorted((Path(__file__).parents[1] / "adapters").glob("test_*.py")),
    ROOT / "tests" / "system" / "faults" / "client" / "test_file_faults.py",
]


@pytest.mark.parametrize("suite", SUITES, ids=lambda path: path.stem)
def test_adapters(desktop: Desktop, suite: Path) -> None:
    """All tests of the suite pass."""
    done = desktop.pytest(windows_path(suite), timeout_s=280)
    print(done.output)
    assert done.code == 0
