"""Post messages as Windows does: `post.py CLASS MESSAGE WPARAM LPARAM …`, one after the other.

Each waits, for a minute at most, until there is a window of that class. Print how many were posted.
"""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise SystemExit("runs on Windows")

import time

import win32gui


def window(kind: str, end: float) -> int:
    """Return the window of that class, once there is one, else 0."""
    while time.monotonic() < end:
        try:
            return int(win32gui.FindWindow(kind, None))
        except win32gui.error:
            time.sleep(0.02)
    return 0


posted = 0
while arguments := sys.argv[1 + 4 * posted : 5 + 4 * posted]:
    found = window(arguments[0], time.monotonic() + 60)
    if not found:
        break
    win32gui.PostMessage(found, *map(int, arguments[1:]))
    posted += 1
print(posted)
