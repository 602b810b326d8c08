"""Post messages as Windows does: `post.py CLASS MESSAGE WPARAM LPARAM …`, one after the other.

Each waits, for a minute at most, until there is a window of that class. Print how many were posted.
"""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise SystemExit("runs on Windows")

import time
from contextlib import suppress

import win32gui


def window(kind: str, end: float) -> int:
    """Return the window of that class, once there is one, else 0."""
    found = 0
    while not found and time.monotonic() < end:
        time.sleep(0.02)
        with suppress(win32gui.error):
            found = int(win32gui.FindWindow(kind, None))
    return found


posted = 0
while arguments := sys.argv[1 + 4 * posted : 5 + 4 * posted]:
    found = window(arguments[0], time.monotonic() + 60)
    if not found:
        break
    win32gui.PostMessage(found, *map(int, arguments[1:]))
    posted += 1
if sys.stdout is not None:
    print(posted)
