"""The client's start: from the start of the process to standby.

This includes importing, reading the keyring, connecting to a real server over TLS, and 0.3 s of
key derivation. The files are in the page cache. The baseline is an interpreter that imports
websockets, truststore and, under Wine, pystray, and ends.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

from bench import desk
from bench.report import Figure, Size

BASELINE = desk.BASELINE


def run(size: Size) -> list[Figure]:
    times = range(size.pick(15, 1))
    with desk.linux_desk() as linux:
        bare = [sys.executable, "-c", desk.IMPORTS]
        floor = [
            _ms(lambda: subprocess.run(bare, env=linux.client.environ, check=True)) for _ in times
        ]
        standby = []
        for _ in times:
            standby.append(1000 * linux.start())
            linux.client.stop()
    figures = [Figure(what="Linux: to standby", unit="ms", values=standby, baseline=floor)]
    if size.short:
        return figures
    floor, standby = [], []
    with desk.windows_desk() as windows:
        imports = f"import pystray; {desk.IMPORTS}"
        for _ in times:
            floor.append(_ms(lambda: windows.desktop.quiet(windows.python, "-c", imports)))
            standby.append(1000 * windows.start())
            windows.quit()
    return [*figures, Figure(what="Wine: to standby", unit="ms", values=standby, baseline=floor)]


def _ms(work: Callable[[], object]) -> float:
    """Return the milliseconds that the work takes."""
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)
