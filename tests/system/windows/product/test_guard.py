"""A client that was killed or updated runs again, one that has quit does not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from installer import NAME
from installer.guard import NAME as GUARD
from installer.wine import windows_path
from tests.support.polling import eventually
from tests.support.setup_program import (
    EVERYBODY,
    EXE,
    exit_code,
    install,
    programs_folder,
    running,
    traces,
    uninstall,
    unix_path,
)
from tests.support.windows_product import Built
from tests.support.wine import INSIDE, Desktop


def homes(pc: Desktop, program: str = EXE) -> dict[str, int]:
    """Return the process ids of a program by the profile that each one runs in."""
    found = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, IndexError):
            own = process.environ()
            if own.get("WINEPREFIX") == str(pc.prefix) and process.cmdline()[0].endswith(program):
                found[own.get("COCONOWORK_HOME", "")] = process.pid
    return found


def test_killed_and_quit(desktop: Desktop, product: Built) -> None:
    """A killed client is back, again and again; after `quit` there is none, and no guard."""
    pc, folder = desktop, programs_folder(desktop)
    assert install(pc, product.product.setup, "/NOAUTOSTART") == 0
    pc.launch(rf"{folder}\{EXE}", "run", "--autostart")
    eventually(lambda: homes(pc, GUARD), or_say="the guard")
    guard = homes(pc, GUARD)
    for _ in range(3):
        kill_and_wait(pc)
    assert homes(pc, GUARD) == guard, "one guard for all of them"
    status = [rf"{folder}\{NAME}.com", "status"]
    eventually(lambda: exit_code(pc, *status) == 13, or_say="the client's answer", within_s=60)
    assert exit_code(pc, rf"{folder}\{NAME}.com", "quit") == 0
    eventually(lambda: not homes(pc) and not homes(pc, GUARD), or_say="the end of both")
    uninstall(pc, folder, "/FORGET")
    eventually(lambda: not traces(pc), or_say="nothing left")


def kill_and_wait(pc: Desktop) -> None:
    """Kill the client, and wait until another one runs."""
    (before,) = running(pc)
    os.kill(before, signal.SIGKILL)
    eventually(lambda: set(running(pc)) - {before}, or_say="another client", within_s=60)


def test_waits_longer_after_each_defect(desktop: Desktop, product: Built, tmp_path: Path) -> None:
    """A client with a defect at its start is started again after 1, 2 and 4 s; then it may quit."""
    shutil.copy(product.product.onedir / GUARD, tmp_path)
    compiler = ["x86_64-w64-mingw32-gcc", "-municode", "-mwindows", "-DLAST=3"]
    subprocess.run([*compiler, str(INSIDE / "defect.c"), "-o", str(tmp_path / EXE)], check=True)
    guard = subprocess.Popen(
        ["wine", windows_path(tmp_path / GUARD)], env=desktop.environment, stdin=subprocess.PIPE
    )
    began = time.monotonic()
    guard.communicate(b"d", timeout=60)
    assert guard.returncode == 0
    assert time.monotonic() - began >= 7
    starts = [int(line) / 1000 for line in (tmp_path / "starts.txt").read_text().split()]
    pauses = [later - earlier for earlier, later in pairwise(starts)]
    assert len(pauses) == 2
    assert pauses[0] >= 2
    assert pauses[1] >= 4


@pytest.mark.parametrize("kind", ["setup", "msi"])
def test_updated_for_all_users(desktop: Desktop, product: Built, kind: str) -> None:
    """After a silent update each user's client runs again, as before; the removal ends all."""
    pc, users = desktop, {r"C:\home-a", r"C:\home-b"}
    folder = unix_path(pc, EVERYBODY)
    assert put(pc, kind, product.product.setup, product.product.msi) == 0
    started = [
        subprocess.Popen(
            ["wine", rf"{EVERYBODY}\{EXE}", "run", "--autostart"],
            env={**pc.environment, "COCONOWORK_HOME": home},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for home in users
    ]
    eventually(lambda: homes(pc, GUARD).keys() == users, or_say="the guards", within_s=60)
    clients, guards = homes(pc), homes(pc, GUARD)
    assert put(pc, kind, product.newer_setup, product.newer_msi) == 0

    def renewed() -> bool:
        now = [*homes(pc).items(), *homes(pc, GUARD).items()]
        return len(now) == 4 and not set(now) & {*clients.items(), *guards.items()}

    eventually(renewed, or_say="the new clients and guards", within_s=60)
    for home in users:
        (log,) = unix_path(pc, home).rglob("client.log")
        assert "coconowork client ends" in log.read_text(encoding="utf-8"), (
            "in order, with a farewell"
        )
    assert homes(pc).keys() == homes(pc, GUARD).keys() == users
    assert not (folder / "old").exists()
    if kind == "msi":
        assert exit_code(pc, "msiexec", "/x", windows_path(product.newer_msi), "/qn") == 0
    else:
        uninstall(pc, EVERYBODY)
    eventually(lambda: not homes(pc) and not homes(pc, GUARD), or_say="the end of all")
    eventually(lambda: not folder.exists(), or_say="an empty folder")
    for process in started:
        process.wait(timeout=30)


def put(pc: Desktop, kind: str, setup: Path, msi: Path) -> int:
    """Install for all users silently, and return the exit code."""
    if kind == "msi":
        return exit_code(pc, "msiexec", "/i", windows_path(msi), "/qn", "AUTOSTART=0")
    return install(pc, setup, "/ALLUSERS", "/NOAUTOSTART")
