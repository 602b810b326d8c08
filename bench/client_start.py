"""The client's start: from the start of the process to standby.

This includes importing, reading the keyring, connecting to a real server over TLS, and 0.3 s of
key derivation. The files are in the page cache. The baseline is an interpreter that imports
websockets and truststore, and ends. Under Wine it is the frozen program without its own code: icon
and standby are given in milliseconds after the median of that. There, a password is changed, too,
from the request in the console to the login with the new password.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise

from bench import desk
from bench.report import Figure, Size
from tests.support.installation import P1

BASELINE = desk.BASELINE
ROUNDS = 5


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
    with desk.windows_desk() as windows:
        return [*figures, *_under_wine(windows)]


def _under_wine(windows: desk.WindowsDesk) -> list[Figure]:
    """Return what is above an empty frozen program, and the change of a password."""
    windows.start_empty()  # into the page cache
    windows.start()
    steps, empty = [], []
    for _ in range(ROUNDS):
        windows.quit()
        empty.append(windows.start_empty())
        steps.append(windows.start_steps())
    passwords = [P1, *(f"Gr8-qumor-{number}" for number in range(ROUNDS))]
    changes = [windows.change(*pair) for pair in pairwise(passwords)]
    windows.quit()
    floors = [statistics.median(values) for values in zip(*empty, strict=True)]
    return [
        Figure(what="Wine: an empty program", unit="ms", values=[1000 * each for each, _ in empty]),
        *(
            Figure(
                what=f"Wine: {what} above that",
                unit="ms",
                values=[1000 * (step[what] - floor) for step in steps],
                must=must,
            )
            for what, floor, must in (
                ("icon", floors[0], 600),
                ("standby", floors[0], 1500),
                ("CPU", floors[1], None),
            )
        ),
        Figure(
            what="Wine: from 変更 to proved",
            unit="ms",
            values=[1000 * each for each in changes],
            must=1600,
        ),
    ]


def _ms(work: Callable[[], object]) -> float:
    """Return the milliseconds that the work takes."""
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)
