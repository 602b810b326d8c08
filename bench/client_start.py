"""The client's start: from the start of the process to standby.

This includes importing, reading the keyring, connecting to a real server over TLS, and 0.3 s of
key derivation. The files are in the page cache. The baseline is an interpreter that imports
websockets, truststore and, under Wine, pystray, and ends.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping

from bench import desk
from bench.report import Figure, Size

BASELINE = desk.BASELINE


def run(size: Size) -> list[Figure]:
    times = size.pick(15, 1)
    with desk.linux_desk() as linux:
        bare = [_bare_ms(linux.client.environ) for _ in range(times)]
        standby = [_start_ms(linux) for _ in range(times)]
    figures = [Figure(what="Linux: to standby", unit="ms", values=standby, baseline=bare)]
    return figures if size.short else [*figures, _under_wine(times)]


def _start_ms(linux: desk.LinuxDesk) -> float:
    """Return the milliseconds to standby."""
    lines = linux.log.length
    _, began = linux.start()
    standby = linux.wait_for_standby(since=lines)
    linux.client.stop()
    return 1000 * (standby - began)


def _bare_ms(environ: Mapping[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", desk.IMPORTS], env=environ, check=True)
    return 1000 * (time.perf_counter() - began)


def _under_wine(times: int) -> Figure:
    found, bare = [], []
    with desk.windows_desk() as windows:
        for _ in range(times):
            began = time.perf_counter()
            windows.desktop.quiet(windows.python, "-c", f"import pystray; {desk.IMPORTS}")
            bare.append(1000 * (time.perf_counter() - began))
            began, ready = windows.start()
            found.append(1000 * (ready - began))
            windows.quit()
    return Figure(what="Wine: to standby", unit="ms", values=found, baseline=bare)
