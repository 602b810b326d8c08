"""Print in JSON which windows are visible: their texts, places, programs and controls."""

from __future__ import annotations

import faulthandler
import json
import sys
from typing import Any

if sys.platform != "win32":
    raise SystemExit("runs on Windows")
import win32api
import win32con
import win32gui
import win32process

from tests.support.inside.look import text_of, windows_in

faulthandler.dump_traceback_later(20, exit=True)
MAY_ASK = win32con.PROCESS_QUERY_INFORMATION | win32con.PROCESS_VM_READ


def describe(window: int) -> dict[str, Any]:
    """Return a window without its controls."""
    return {
        "handle": window,
        "kind": win32gui.GetClassName(window),
        "text": text_of(window),
        "box": win32gui.GetWindowRect(window),
        "visible": bool(win32gui.IsWindowVisible(window)),
        "enabled": bool(win32gui.IsWindowEnabled(window)),
    }


def program_of(window: int) -> str:
    """Return the file name of the program that the window belongs to."""
    _, process = win32process.GetWindowThreadProcessId(window)
    handle = win32api.OpenProcess(MAY_ASK, False, process)
    return str(win32process.GetModuleFileNameEx(handle, 0)).rpartition("\\")[2]


report: list[Any] = []
for top in filter(win32gui.IsWindowVisible, windows_in()):
    try:
        controls = list(map(describe, windows_in(top)))
        report.append([{**describe(top), "exe": program_of(top)}, controls])
    except (win32gui.error, win32api.error):
        continue  # it was closed
print(json.dumps(report))
