"""Run PyInstaller under Wine: from the checkout to the folder with the .exe."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from installer import NAME, BuildError
from installer.guard import compile_guard
from installer.wine import Wine, windows_path
from installer.winpy.assemble import BUILD, ROOT, assemble


def source_date() -> int:
    """Return the time of the last commit, in seconds since 1970, for every time stamp of the build.

    The time of the build itself would make each build differ. SOURCE_DATE_EPOCH overrides it.
    """
    if "SOURCE_DATE_EPOCH" in os.environ:
        return int(os.environ["SOURCE_DATE_EPOCH"])
    command = ["git", "log", "-1", "--format=%ct"]
    asked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return int(asked.stdout.strip() or 1_700_000_000)


def freeze(work: Path) -> Path:
    """Run PyInstaller in an emptied `work` and return the onedir folder. Raise BuildError."""
    winpy = assemble()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    wine = Wine(BUILD / "wine-build")
    wine.boot()
    try:
        wine.quiet("winecfg", "/v", "win10")
        done = wine.run(
            windows_path(winpy / "python.exe"), "-m", "PyInstaller", "--noconfirm",
            "--distpath", windows_path(work / "dist"), "--workpath", windows_path(work / "work"),
            windows_path(ROOT / "build.spec"),
            timeout_s=900,
            cwd=ROOT,
            environment={
                "PYTHONHASHSEED": "1",
                "PYTHONUTF8": "1",
                "PYTHONDONTWRITEBYTECODE": "1",
                "SOURCE_DATE_EPOCH": str(source_date()),
                # An earlier build's cache would hide a changed input.
                "PYINSTALLER_CONFIG_DIR": windows_path(work / "cache"),
                **{k: v for k, v in os.environ.items() if k == "COCONOWORK_ENTRY"},
            },
        )  # fmt: skip
    finally:
        wine.close()
    (work / "pyinstaller.log").write_text(done.output, encoding="utf-8")
    onedir = work / "dist" / NAME
    if done.code != 0 or not (onedir / f"{NAME}.exe").exists():
        raise BuildError(f"PyInstaller failed:\n{done.output[-4000:]}")
    compile_guard(onedir)
    return onedir
