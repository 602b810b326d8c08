"""List the visible windows: their texts, places, programs and controls."""

from __future__ import annotations

import ctypes
import sys
from ctypes import wintypes
from typing import Any

if sys.platform != "win32":
    raise SystemExit("runs on Windows")

user32 = ctypes.WinDLL("user32")
kernel32 = ctypes.WinDLL("kernel32")
WM_GETTEXT, SMTO_ABORTIFHUNG, QUERY_LIMITED = 0x000D, 0x0002, 0x1000
Visit = ctypes.WINFUNCTYPE(wintypes.BOOL, wintypes.HWND, wintypes.LPARAM)
user32.SendMessageTimeoutW.argtypes = [
    wintypes.HWND, wintypes.UINT, wintypes.WPARAM, wintypes.LPVOID,
    wintypes.UINT, wintypes.UINT, ctypes.POINTER(ctypes.c_size_t),
]  # fmt: skip
kernel32.OpenProcess.restype = wintypes.HANDLE
kernel32.QueryFullProcessImageNameW.argtypes = [
    wintypes.HANDLE, wintypes.DWORD, wintypes.LPWSTR, ctypes.POINTER(wintypes.DWORD),
]  # fmt: skip
kernel32.CloseHandle.argtypes = [wintypes.HANDLE]
user32.GetForegroundWindow.restype = wintypes.HWND


def text_of(window: int) -> str:
    """Return the text that the window answers with, empty when the window hangs."""
    buffer = ctypes.create_unicode_buffer(4096)
    answer = ctypes.c_size_t()
    user32.SendMessageTimeoutW(
        window, WM_GETTEXT, len(buffer), buffer, SMTO_ABORTIFHUNG, 500, ctypes.byref(answer)
    )
    return buffer.value


def describe(window: int) -> dict[str, Any]:
    """Return a window without its controls."""
    kind = ctypes.create_unicode_buffer(256)
    user32.GetClassNameW(window, kind, len(kind))
    box = wintypes.RECT()
    user32.GetWindowRect(window, ctypes.byref(box))
    return {
        "handle": window,
        "kind": kind.value,
        "text": text_of(window),
        "box": [box.left, box.top, box.right, box.bottom],
        "visible": bool(user32.IsWindowVisible(window)),
        "enabled": bool(user32.IsWindowEnabled(window)),
    }


def program_of(window: int) -> str:
    """Return the file name of the window's program."""
    pid = wintypes.DWORD()
    user32.GetWindowThreadProcessId(window, ctypes.byref(pid))
    handle = kernel32.OpenProcess(QUERY_LIMITED, False, pid.value)
    path = ctypes.create_unicode_buffer(1024)
    size = wintypes.DWORD(len(path))
    kernel32.QueryFullProcessImageNameW(handle, 0, path, ctypes.byref(size))
    kernel32.CloseHandle(handle)
    return path.value.rpartition("\\")[2]


def collect(parent: int | None) -> list[int]:
    """Return handles of the windows in `parent`, or of the top-level ones."""
    found: list[int] = []

    def visit(window: int, _: int) -> bool:
        found.append(window)
        return True

    if parent is None:
        user32.EnumWindows(Visit(visit), 0)
    else:
        user32.EnumChildWindows(parent, Visit(visit), 0)
    return found


def windows() -> list[dict[str, Any]]:
    """Return the visible top-level windows from front to back, each with its controls."""
    return [
        {**describe(top), "exe": program_of(top), "children": list(map(describe, collect(top)))}
        for top in collect(None)
        if user32.IsWindowVisible(top)
    ]


def foreground() -> int | None:
    """Return the handle of the window that has the keyboard."""
    handle: int | None = user32.GetForegroundWindow()
    return handle
