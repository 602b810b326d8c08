"""Look at the windows on the screen, and note them for the test.

A thread of the running program looks, because to start another one takes Wine a second or two.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from pathlib import Path

import win32con
import win32gui

KINDS = {"TkTopLevel": "dialog", "#32768": "menu", "tooltips_class32": "tip"}


def text_of(window: int) -> str:
    """Return the text that the window itself answers with, or nothing when it hangs."""
    text = ctypes.create_unicode_buffer(4096)
    address, give_up = ctypes.addressof(text), win32con.SMTO_ABORTIFHUNG
    try:
        win32gui.SendMessageTimeout(window, win32con.WM_GETTEXT, len(text), address, give_up, 500)
    except win32gui.error:
        return ""
    return text.value


def windows_in(parent: int | None = None) -> list[int]:
    """Return handles of the windows in `parent`, or of the top-level ones."""
    found: list[int] = []

    def visit(window: int, _: object) -> bool:
        found.append(window)
        return True

    if parent is None:
        win32gui.EnumWindows(visit, None)
    else:
        win32gui.EnumChildWindows(parent, visit, None)
    return found


def notes(file: str) -> Callable[[str], None]:
    """Return a function that appends a line to `file`, and note each dialog, menu and tooltip.

    Each gets a line `KIND LEFT TOP RIGHT BOTTOM TEXT` whenever it is new or changes.
    """

    def write(line: str) -> None:
        with Path(file).open("a", encoding="utf-8") as lines:
            lines.write(f"{line}\n")

    def watch() -> None:
        before: set[str] = set()
        while True:
            now = set(filter(None, map(_line, windows_in())))
            for line in sorted(now - before):
                write(line)
            before = now
            time.sleep(0.1)

    threading.Thread(target=watch, daemon=True).start()
    return write


def _line(window: int) -> str:
    try:
        kind = KINDS.get(win32gui.GetClassName(window) or "")
        if kind is None or not win32gui.IsWindowVisible(window):
            return ""
        box = " ".join(map(str, win32gui.GetWindowRect(window)))
    except win32gui.error:  # it was closed
        return ""
    return f"{kind} {box} {' '.join(text_of(window).split())}"
