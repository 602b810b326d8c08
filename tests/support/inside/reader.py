"""Read the client's windows as screen readers do (MSAA), and press buttons."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from ctypes import POINTER, byref, c_long, c_longlong, c_ulong, c_ushort, c_void_p, cast, wintypes
from typing import Any

if sys.platform != "win32":
    raise SystemExit("runs on Windows")

from agent.dialogs.windows.accessible import IACCESSIBLE
from tests.support.inside.windows import collect

EVENTS = {
    0x0002: "alert", 0x8005: "focus", 0x800A: "state", 0x800C: "name", 0x800E: "value",
    0x8019: "news",
}  # fmt: skip
OBJID_CLIENT = 0xFFFFFFFC
VT_I4, VT_DISPATCH = 3, 9
user32, oleacc = ctypes.WinDLL("user32"), ctypes.OleDLL("oleacc")
ole32 = ctypes.OleDLL("ole32")
ole32.CoInitializeEx(None, 2)


class Variant(ctypes.Structure):
    """A VARIANT with a number or an object."""

    _fields_ = (("kind", c_ushort), ("_", c_ushort * 3), ("value", c_longlong), ("more", c_void_p))


SELF = Variant(3)
OnEvent = ctypes.WINFUNCTYPE(
    None, c_void_p, wintypes.DWORD, wintypes.HWND, c_long, c_long, wintypes.DWORD, wintypes.DWORD
)


def call(accessible: c_void_p, place: int, *arguments: Any) -> int:
    """Call the method at index `place` of IAccessible."""
    types = [POINTER(type(a._obj)) if hasattr(a, "_obj") else type(a) for a in arguments]
    table = cast(accessible, POINTER(POINTER(c_void_p)))[0]
    return int(ctypes.WINFUNCTYPE(c_long, c_void_p, *types)(table[place])(accessible, *arguments))


def text(accessible: c_void_p, place: int) -> str:
    """Return the text that the method at index `place` returns."""
    found = c_void_p()
    call(accessible, place, SELF, byref(found))
    return ctypes.wstring_at(found.value) if found.value else ""


def number(accessible: c_void_p, place: int) -> int:
    """Return the number that the method at index `place` returns."""
    found = Variant()
    call(accessible, place, SELF, byref(found))
    return found.value & 0xFFFFFFFF


def accessible_of(window: int) -> c_void_p:
    """Return the accessible object of a window handle."""
    found = c_void_p()
    handle, object_id = wintypes.HWND(window), c_ulong(OBJID_CLIENT)
    oleacc.AccessibleObjectFromWindow(handle, object_id, IACCESSIBLE, byref(found))
    return found


def as_accessible(dispatch: c_void_p) -> c_void_p:
    """Return the same object by its interface IAccessible."""
    found = c_void_p()
    call(dispatch, 0, ctypes.c_char_p(IACCESSIBLE), byref(found))
    return found


def element(window: int) -> dict[str, Any]:
    """Return role, name, value and state that a screen reader reads of a window handle."""
    found = accessible_of(window)
    focus, name = Variant(), text(found, 10)
    call(found, 18, byref(focus))
    focused = {
        VT_DISPATCH: lambda: text(as_accessible(c_void_p(focus.value)), 10),
        VT_I4: lambda: name,
    }
    return {
        "name": name, "value": text(found, 11), "action": text(found, 20),
        "role": number(found, 13), "state": number(found, 14),
        "focus": focused.get(focus.kind, str)(),
    }  # fmt: skip


def is_dialog(window: int) -> bool:
    """Return whether this is a window of the client."""
    kind = ctypes.create_unicode_buffer(64)
    user32.GetClassNameW(window, kind, len(kind))
    return kind.value == "TkTopLevel" and bool(user32.IsWindowVisible(window))


def in_windows() -> Iterator[int]:
    """Yield the handles of the client's windows, each before those inside it."""
    for top in filter(is_dialog, collect(None)):
        yield from (top, *collect(top))


def elements() -> list[dict[str, Any]]:
    """Return `element` of each handle, without handles that have just gone."""
    found = []
    for window in in_windows():
        with suppress(OSError):
            found.append(element(window))
    return found


def press(name: str) -> None:
    """Do the default action of the element with this name, as a screen reader does."""
    for window in in_windows():
        found = accessible_of(window)
        if text(found, 10) == name and text(found, 20):
            call(found, 25, SELF)
            return  # the window may close


def watch(note: Callable[[str], None]) -> None:
    """Call `note` with a line `EVENT ROLE NAME` for each event, for ever."""

    def on_event(_hook: int, event: int, window: int, *_more: int) -> None:
        if event in EVENTS and is_dialog(user32.GetAncestor(window, 2)):
            found = accessible_of(window)
            line = f"{EVENTS[event]} {number(found, 13)} {text(found, 10)}"
            note(" ".join(line.split()))

    ole32.CoInitializeEx(None, 2)
    procedure, message = OnEvent(on_event), wintypes.MSG()
    user32.SetWinEventHook(1, 0x8FFF, None, procedure, 0, 0, 0)
    while user32.GetMessageW(byref(message), None, 0, 0):
        user32.DispatchMessageW(byref(message))
