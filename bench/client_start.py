"""The client's start.

From the start of the process to its icon in the tray, and to standby at a real server over TLS:
importing, reading the keyring, connecting, 0.3 s of key derivation. Cold means that the files of
interpreter, libraries and client have been dropped from the page cache. The baseline is the bare
interpreter's start, with pystray and websockets, to its end.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench import desk
from bench.report import Figure, Size
from tests.support.places import ROOT

BASELINE = desk.BASELINE
IMPORTS = "import pystray, websockets"
RESIDENT = (
    "import agent.desktop, agent.linux.tray, agent.linux.session_watcher, "
    "agent.linux.control, agent.vault_process"
)
"""What the process that stays has loaded, imported one by one."""
NEVER = {"tkinter", "keyring", "tomlkit", "agent.dialogs.window", "webbrowser"}


def run(size: Size) -> list[Figure]:
    """Start it again and again."""
    times = size.pick(15, 1)
    with desk.linux_desk() as linux:
        environ = linux.client.environ
        warm = [_start(linux) for _ in range(times)]
        bare_warm = [_bare_s(environ) for _ in range(times)]
        cold: list[tuple[float, float]] = []
        bare_cold: list[float] = []
        for _ in range(size.pick(5, 0)):
            _drop_caches()
            cold.append(_start(linux))
            _drop_caches()
            bare_cold.append(_bare_s(environ))
        modules, import_ms = _imports(environ, RESIDENT)
        bare_modules, bare_import_ms = _imports(environ, IMPORTS)
    loaded_early = NEVER & modules
    if loaded_early:
        raise AssertionError(f"loaded at the start: {sorted(loaded_early)}")
    figures = [
        Figure(
            what=f"Linux: to {what}, {how}",
            value=1000 * median(each[number] for each in found),
            unit="ms",
            baseline=1000 * median(bare),
            headline=how == "warm",
        )
        for how, found, bare in (("warm", warm, bare_warm), ("cold", cold, bare_cold))
        for number, what in enumerate(("the icon", "standby"))
        if found
    ]
    figures += [
        Figure(what="Linux: imports", value=import_ms, unit="ms", baseline=bare_import_ms),
        Figure(what="Linux: modules", value=len(modules), unit="", baseline=len(bare_modules)),
    ]
    return figures if size.short else [*figures, *_under_wine(times)]


def _start(linux: desk.LinuxDesk) -> tuple[float, float]:
    """Seconds to the icon and to standby."""
    icons, lines = len(linux.tray.icons), linux.log.length
    _, began = linux.start()
    icon = linux.wait_for_icon(icons)
    standby = linux.wait_for_standby(since=lines).at
    linux.client.stop()
    return icon - began, standby - began


def _bare_s(environ: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORTS], env=environ, check=True)
    return time.perf_counter() - began


def _imports(environ: dict[str, str], code: str) -> tuple[set[str], float]:
    """Which modules, and the milliseconds that `-X importtime` counts for them."""
    code += "; import sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code],
        env=environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    own = [line.split("|")[0].partition(":")[2] for line in done.stderr.splitlines() if "|" in line]
    return set(done.stdout.split()), sum(int(each) for each in own[1:]) / 1000


def _drop_caches() -> None:
    """Ask the kernel to forget our files, as after switching the PC on."""
    for path in _files():
        handle = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


def _files() -> Iterator[Path]:
    roots = [Path(sys.prefix) / "lib", Path(os.__file__).parent, ROOT / "agent"]
    for root in roots:
        for path in root.rglob("*"):
            if path.suffix in {".py", ".pyc", ".so"} and path.is_file():
                yield path


def _under_wine(times: int) -> list[Figure]:
    from installer.wine import windows_path

    found, bare = [], []
    with desk.windows_desk() as windows:
        python = windows_path(windows.winpy / "python.exe")
        for _ in range(times):
            began = time.perf_counter()
            windows.desktop.quiet(python, "-c", IMPORTS)
            bare.append(time.perf_counter() - began)
            since = windows.log_length
            began = windows.start()
            found.append(windows.wait_for_line("-> standby:", since=since) - began)
            windows.quit()
            windows.wait_for_line("-> stopped", since=since)
    return [
        Figure(
            what="Wine: to standby, warm",
            value=1000 * median(found),
            unit="ms",
            baseline=1000 * median(bare),
            headline=True,
        )
    ]
