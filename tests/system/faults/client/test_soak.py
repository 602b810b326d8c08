"""Short forms of the two runs of `make soak`."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from soak import reconnects, sample
from soak.sample import Sample
from tests.support.places import ROOT


@pytest.mark.keyring
def test_reconnects_cost_nothing_that_stays() -> None:
    """100 reconnects of the real client leave nothing behind."""
    found = reconnects.run(100, samples=2)
    assert [each.done for each in found] == [11, 101]
    assert sample.growth(found) == [], sample.table(found)


def test_a_day() -> None:
    """24 simulated hours leave nothing behind."""
    done = subprocess.run(
        [sys.executable, "-m", "soak", "day"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("Nothing grows.\n")
    assert "| 24 |" in done.stdout


def test_growth_is_reported() -> None:
    """The report names each figure that has grown."""
    flat = Sample(0, 30_000, 40_000, 12, 4, 5, 100_000)
    assert sample.growth([flat, flat]) == []
    grown = {"memory_kib": 32_000, "objects": 40_300, "handles": 15, "threads": 7, "tasks": 9}
    for name, value in {**grown, "log_bytes": 7_000_000}.items():
        [line] = sample.growth([flat, replace(flat, **{name: value})])
        assert line.startswith(name)
