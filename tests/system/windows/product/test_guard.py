"""The guard restarts a client with a defect, and all users' clients after an update."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from installer.guard import NAME as GUARD
from installer.wine import windows_path
from tests.support.setup_program import (
    EVERYBODY,
    EXE,
    RUN,
    SETTINGS,
    exit_code,
    install,
    registry,
    running,
    traces,
    unix_path,
)
from tests.support.windows_product import Built
from tests.support.wine import INSIDE, Desktop, wait_for

HOMES = (r"C:\home-a", r"C:\home-b")
"""The profiles of two users."""


def test_waits_longer_after_each_defect(desktop: Desktop, product: Built, tmp_path: Path) -> None:
    """A client that fails at its start is restarted after 1, 2 and 4 s; then it can be quit."""
    shutil.copy(product.onedir / GUARD, tmp_path)
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


@contextmanager
def updated_clients(pc: Desktop) -> Iterator[None]:
    """Start two users' clients. After the update, wait until both and their guards are renewed.

    The old clients must have ended normally, and their folder `old` must be gone.
    """
    environment = dict(pc.environment)
    for home in HOMES:
        pc.environment["COCONOWORK_HOME"] = home
        pc.launch(rf"{EVERYBODY}\{EXE}", "run", "--autostart")
    pc.environment = environment

    def programs() -> dict[int, str]:
        return running(pc) | running(pc, GUARD)

    twice = sorted(HOMES * 2)
    wait_for(lambda: sorted(programs().values()) == twice, programs)
    before = programs().keys()
    yield
    wait_for(
        lambda: sorted(programs().values()) == twice and not programs().keys() & before, programs
    )
    for home in HOMES:
        (log,) = unix_path(pc, home).rglob("client.log")
        assert "coconowork client ends" in log.read_text("utf-8"), "in order, with a farewell"
    assert not unix_path(pc, rf"{EVERYBODY}\old").exists()


def wait_for_removal(pc: Desktop) -> None:
    """Wait until all clients have ended and only the users' own files are left."""
    wait_for(lambda: not running(pc) and not running(pc, GUARD), "the end of all")
    wait_for(lambda: not unix_path(pc, EVERYBODY).exists(), "an empty folder")
    for home in HOMES:
        shutil.rmtree(unix_path(pc, home))
    assert traces(pc) == []


def test_setup_updates_all_users(desktop: Desktop, product: Built) -> None:
    """After a silent update each user's client runs again, as before; the removal ends all."""
    pc, address = desktop, "wss://gw.example.com:8443/a"
    options = ["/ALLUSERS", f"/SERVER={address}", "/NOAUTOSTART"]
    assert install(pc, product.setup, *options) == 0
    with updated_clients(pc):
        assert install(pc, product.newer_setup, "/ALLUSERS") == 0
    assert registry(pc, rf"HKLM\{SETTINGS}")["Server"] == address
    assert "Coconowork Client" not in registry(pc, rf"HKLM\{RUN}")
    exit_code(pc, rf"{EVERYBODY}\uninstall.exe", "/S")
    wait_for_removal(pc)


def test_msi(desktop: Desktop, product: Built) -> None:
    """The MSI installs, updates each user's client, refuses a downgrade, and leaves nothing.

    The MSI refuses some of the addresses that the client refuses.
    """
    pc, first, newer = desktop, *map(windows_path, (product.msi, product.newer_msi))

    def msiexec(*options: str) -> int:
        return exit_code(pc, "msiexec", *options, "/qn")

    for server in ("bad address", "http://gw.example.com", "u@gw.example.com"):
        assert msiexec("/i", first, f"SERVER={server}") == 1603
    assert traces(pc) == []
    assert msiexec("/i", first, "SERVER=gw.example.com", "AUTOSTART=0") == 0
    assert registry(pc, rf"HKLM\{SETTINGS}")["Server"] == "gw.example.com"
    assert "Coconowork Client" not in registry(pc, rf"HKLM\{RUN}")
    assert install(pc, product.setup) == 1625, "the MSI's owner decides"
    with updated_clients(pc):
        assert msiexec("/i", newer) == 0
    assert registry(pc, rf"HKLM\{SETTINGS}")["Server"] == "gw.example.com"
    assert registry(pc, rf"HKLM\{RUN}")["Coconowork Client"].startswith(f'"{EVERYBODY}')
    assert msiexec("/i", first) == 1603
    assert msiexec("/x", newer) == 0
    wait_for_removal(pc)
