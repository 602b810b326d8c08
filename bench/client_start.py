"""Measure the client's start: from the start of the process to standby.

This includes importing, reading the keyring, connecting to a real server over TLS, and 0.3 s of
key derivation. The files are in the page cache. The baseline is an interpreter that imports
websockets and truststore, and ends. Under Wine, the baseline is the frozen program without our
code: its median is subtracted from the times to icon and standby. There, a password change is
measured, too, from the request in the console to the login with the new password.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from itertools import pairwise

from bench import desk
from bench.report import Figure, Size
from tests.support.installation import P1

BASELINE = desk.BASELINE
ROUNDS = 5


def run(size: Size) -> list[Figure]:
    floor, standby = [], []
    with desk.linux_desk() as client:
        for _ in range(size.pick(15, 1)):
            began = time.perf_counter()
            bare = [sys.executable, "-c", desk.IMPORTS]
            subprocess.run(bare, env=client.environ, check=True)
            floor.append(1000 * (time.perf_counter() - began))
            standby.append(1000 * desk.start(client))
            client.stop()
    figures = [Figure("Linux: to standby, ms", standby, floor)]
    if size.short:
        return figures
    with desk.windows_desk() as windows:
        return [*figures, *_under_wine(windows)]


def _under_wine(windows: desk.WindowsDesk) -> list[Figure]:
    """Return the times above those of an empty frozen program, and of changes of a password."""
    windows.start_empty()  # brings the files into the page cache
    windows.start_steps()
    steps, empty = [], []
    for _ in range(ROUNDS):
        windows.quit()
        empty.append(windows.start_empty())
        steps.append(windows.start_steps())
    passwords = [P1, *(f"Gr8-qumor-{number}" for number in range(ROUNDS))]
    changes = [windows.change(*pair) for pair in pairwise(passwords)]
    windows.quit()
    floors = [statistics.median(values) for values in zip(*empty, strict=True)]
    rows = (("icon", floors[0], 600), ("standby", floors[0], 1500), ("CPU", floors[1], None))
    return [
        Figure("Wine: an empty program, ms", [1000 * each for each, _ in empty]),
        *(
            Figure(
                f"Wine: {what} above that, ms",
                [1000 * (step[what] - floor) for step in steps],
                at_most=must,
            )
            for what, floor, must in rows
        ),
        Figure("Wine: from 変更 to proved, ms", [1000 * each for each in changes], at_most=1600),
    ]
