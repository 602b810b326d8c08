"""A short run of all fuzzers: once from the same seed as ever, once from a new one.

The long run is `make fuzz`.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.places import ROOT


@pytest.mark.parametrize("seed", ["fixed", "new"])
def test_no_input_breaks_anything(seed: str) -> None:
    """Mutated inputs at every target: only declared errors, no secret said, nothing left behind."""
    number = 1 if seed == "fixed" else random.randrange(2, 2**31)
    done = _fuzz("--plain", "--runs=6000", f"--seed={number}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"\n[56],\d{{3}} inputs in [\d,]+ s, seed {number}\n", done.stdout)


@pytest.mark.parametrize("target", ["wire", "conversation"])
def test_guided_by_coverage(target: str) -> None:
    """The same targets by atheris, which reaches more than one place in the code."""
    done = _fuzz("--runs=120", f"--target={target}", "--seed=1")
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(rf"\| {target} \|.*\| (\d+) \|\n", done.stdout)
    assert found
    assert int(found[1]) > 10


def test_a_broken_invariant_is_found(tmp_path: Path) -> None:
    """A fuzzer that cannot fail would prove nothing: this one is given a target that does."""
    (tmp_path / "broken.py").write_text(
        "import sys\n"
        "from fuzz import __main__ as fuzz, wire_targets\n"
        "from fuzz.target import Target\n"
        "def run(data):\n    assert b'9999' not in data, 'found'\n"
        "wire_targets.TARGETS[:] = [Target('broken', run, [b'0'])]\n"
        "sys.exit(fuzz.main())\n"
    )
    done = subprocess.run(
        [sys.executable, str(tmp_path / "broken.py"), "--plain", "--runs=3000", "--target=broken"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1
    assert "broken does not stand" in done.stderr
    assert "failed: broken" in done.stderr


def _fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fuzz", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
