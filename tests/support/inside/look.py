"""What the programs of `inside/` share: notes for the test, a view, and a look at the screen.

A thread of the running program looks, because to start another one takes Wine a second or two.
"""

from __future__ import annotations

import ctypes
import json
import threading
import time
from collections.abc import Callable
from ctypes import wintypes
from datetime import datetime
from pathlib import Path

from agent.core.failure import Reason
from agent.core.state import State
from agent.core.view import View

KINDS = {"TkTopLevel": "dialog", "#32768": "menu", "tooltips_class32": "tip"}
WM_GETTEXT = 0x000D


def notes(file: str) -> Callable[[str], None]:
    """Return a function that appends a line to `file`, and note each dialog, menu and tooltip.

    Each gets a line `KIND LEFT TOP RIGHT BOTTOM TEXT` whenever it is new or changes.
    """

    def write(line: str) -> None:
        with Path(file).open("a", encoding="utf-8") as lines:
            lines.write(f"{line}\n")

    threading.Thread(target=_watch, args=(write,), daemon=True).start()
    return write


def view_of(text: str) -> View:
    """Return the view that `text` describes in JSON."""
    fields = json.loads(text)
    readers = {"state": State, "reason": Reason, "valid_until": datetime.fromisoformat}
    for name in readers.keys() & fields.keys():
        fields[name] = readers[name](fields[name])
    return View(**fields)


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
