"""The workflows are valid, and call only what the project has."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.places import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTIONLINT = Path(sys.executable).with_name("actionlint")


@pytest.mark.skipif(sys.platform != "linux", reason="the wheel with actionlint is for Linux")
def test_actionlint() -> None:
    """The linter `actionlint` finds no fault in the workflows."""
    assert WORKFLOWS
    done = subprocess.run(
        [str(ACTIONLINT), "-no-color", *map(str, WORKFLOWS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_steps_call_the_project() -> None:
    """Every file and make target that a workflow names is in the checkout."""
    text = "\n".join(path.read_text("utf-8") for path in WORKFLOWS)
    named = re.findall(r"(?<=[\s(])((?:\.ci|agent|installer|tests)/[\w./-]+)", text)
    assert {".ci/run", "installer/requirements.txt"} <= set(named)
    assert [name for name in named if not (ROOT / name).exists()] == []
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"run: make (\w+)", text):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
