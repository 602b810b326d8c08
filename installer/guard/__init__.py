"""Compile the guard, the small program that starts a client again that has died."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from installer import BuildError

NAME = "coconowork-guard.exe"
_COMPILERS = ("x86_64-w64-mingw32-gcc", "gcc")


def compile_guard(folder: Path) -> None:
    """Compile the guard into `folder`, repeatably. Raise BuildError."""
    compiler = next(filter(None, map(shutil.which, _COMPILERS)), None)
    if compiler is None:
        raise BuildError("The guard needs a C compiler: MinGW-w64.")
    source = Path(__file__).with_name("guard.c")
    flags = ["-Os", "-Wall", "-Werror", "-municode", "-mwindows", "-s"]
    done = subprocess.run(
        [compiler, *flags, "-Wl,--no-insert-timestamp", str(source), "-o", str(folder / NAME)],
        env={**os.environ, "SOURCE_DATE_EPOCH": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BuildError(f"The guard cannot be compiled:\n{done.stderr}")
