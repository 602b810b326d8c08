"""A short run of all fuzz targets. The long run is `make fuzz`."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.places import ROOT

NEW_SEED = random.SystemRandom().randrange(2, 2**31)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments. Return the completed process."""
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize("seed", [1, NEW_SEED], ids=["fixed", "new"])
def test_no_input_breaks_anything(seed: int) -> None:
    """No mutated input breaks an invariant, with a fixed seed and with a new one."""
    done = run("-m", "fuzz", "--plain", "--runs=2500", f"--seed={seed}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"seed {seed}, failed: none" in done.stdout


def test_guided_by_coverage() -> None:
    """A run guided by atheris reaches over 10 places in the code."""
    done = run("-m", "fuzz", "--runs=120", "--target=wire", "--seed=1", "--guided")
    assert done.returncode == 0, done.stdout + done.stderr
    assert max(map(int, re.findall(r"cov: (\d+) ft:", done.stderr))) > 10


def test_a_broken_invariant_is_found(tmp_path: Path) -> None:
    """A target that fails is reported with the input and the command that repeats it."""
    (tmp_path / "broken.py").write_text(
        "import sys\n"
        "from fuzz import __main__ as fuzz, wire_targets\n"
        "from fuzz.target import Target\n"
        "def run(data):\n    assert b'9999' not in data, 'found'\n"
        "wire_targets.TARGETS[:] = [Target('broken', run, [b'0'])]\n"
        "sys.exit(fuzz.main())\n"
    )
    options = ["--plain", "--runs=3000", "--target=broken", "--seed=7"]
    done = run(str(tmp_path / "broken.py"), *options)
    assert done.returncode == 1
    assert "broken fails for b'" in done.stderr
    assert "python -m fuzz --target broken --runs 3000 --seed 7 --plain" in done.stderr
