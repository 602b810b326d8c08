"""Tells which dialog, menu or tooltip has come to the screen, from inside a running program.

Starting a program to look takes Wine a second or two, a thread that looks none.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from ctypes import wintypes

KINDS = {"TkTopLevel": "dialog", "#32768": "menu", "tooltips_class32": "tip"}
WM_GETTEXT = 0x000D


def watch(write: Callable[[str], None]) -> None:
    """Write a line `KIND LEFT TOP RIGHT BOTTOM TEXT` for each, whenever it is new or changes."""
    threading.Thread(target=_watch, args=(write,), daemon=True).start()


def _watch(write: Callable[[str], None]) -> None:
    before: set[str] = set()
    while True:
        now = _visible()
        for line in sorted(now - before):
            write(line)
        before = now
        time.sleep(0.1)


def _visible() -> set[str]:
    user32 = ctypes.WinDLL("user32")  # type: ignore[attr-defined]  # there is one on Windows
    user32.SendMessageW.argtypes = [wintypes.HWND, wintypes.UINT, wintypes.WPARAM, wintypes.LPVOID]
    visit_type = ctypes.WINFUNCTYPE(  # type: ignore[attr-defined]  # there is one on Windows
        wintypes.BOOL, wintypes.HWND, wintypes.LPARAM
    )
    lines: set[str] = set()

    def visit(window: int, _: int) -> bool:
        name = ctypes.create_unicode_buffer(64)
        user32.GetClassNameW(window, name, len(name))
        if name.value in KINDS and user32.IsWindowVisible(window):
            box = wintypes.RECT()
            user32.GetWindowRect(window, ctypes.byref(box))
            text = ctypes.create_unicode_buffer(1024)
            user32.SendMessageW(window, WM_GETTEXT, len(text), text)
            said = " ".join(text.value.split())
            lines.add(f"{KINDS[name.value]} {box.left} {box.top} {box.right} {box.bottom} {said}")
        return True

    user32.EnumWindows(visit_type(visit), 0)
    return lines
