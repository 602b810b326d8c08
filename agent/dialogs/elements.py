"""What a screen reader learns about the widgets of a window, in the words of Windows (MSAA)."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from tkinter import ttk

SECRET = (
    "Secret.TEntry"  # style of a field whose text no screen reader gets, even while it is shown
)
ERROR = "Error.TLabel"
ANNOUNCED = {"Heading.TLabel", "Code.TLabel", "TLabel", "Warning.TLabel", "Hint.TLabel", ERROR}
"""Styles of labels whose new texts are read out."""


class Role(IntEnum):
    """ROLE_SYSTEM_…, https://learn.microsoft.com/windows/win32/winauto/object-roles ."""

    ALERT = 8
    DIALOG = 18
    STATIC_TEXT = 41
    TEXT = 42
    BUTTON = 43
    CHECK_BUTTON = 44
    PROGRESS_BAR = 48


class State(IntFlag):
    """STATE_SYSTEM_…, https://learn.microsoft.com/windows/win32/winauto/object-state-constants ."""

    NOTHING = 0
    UNAVAILABLE = 0x1
    FOCUSED = 0x4
    CHECKED = 0x10
    READ_ONLY = 0x40
    DEFAULT = 0x100
    INVISIBLE = 0x8000
    FOCUSABLE = 0x100000
    PROTECTED = 0x20000000


ROLES = {
    "TLabel": Role.STATIC_TEXT,
    "TEntry": Role.TEXT,
    "TButton": Role.BUTTON,
    "TCheckbutton": Role.CHECK_BUTTON,
    "TProgressbar": Role.PROGRESS_BAR,
}


@dataclass(frozen=True)
class Element:
    """One widget as a screen reader gets it."""

    role: Role
    name: str
    value: str = ""
    state: State = State.NOTHING
    shortcut: str = ""
    announced: bool = False


def elements(root: tk.Misc) -> dict[tk.Misc, Element]:
    """Return an element for each widget in `root`, in the order of the window."""
    focused, caption = root.focus_get(), Element(Role.STATIC_TEXT, "")
    found: dict[tk.Misc, Element] = {}
    for widget in _widgets(root):
        element = _element(widget, caption, focused=widget is focused)
        if element.role is Role.STATIC_TEXT:
            caption = element
        found[widget] = element
    return found


def _widgets(parent: tk.Misc) -> Iterator[ttk.Widget]:
    for child in parent.winfo_children():
        picture = isinstance(child, ttk.Label) and child.cget("image")
        if isinstance(child, ttk.Widget) and child.winfo_class() in ROLES and not picture:
            yield child
        yield from _widgets(child)


def _element(widget: ttk.Widget, caption: Element, *, focused: bool) -> Element:
    role, style = ROLES[widget.winfo_class()], str(widget.cget("style"))
    has = {
        State.INVISIBLE: not widget.winfo_ismapped(),
        State.UNAVAILABLE: widget.instate(["disabled"]),
        State.CHECKED: role is Role.CHECK_BUTTON and widget.instate(["selected"]),
        State.DEFAULT: role is Role.BUTTON and str(widget.cget("default")) == "active",
        State.FOCUSABLE: role in {Role.TEXT, Role.BUTTON, Role.CHECK_BUTTON},
        State.READ_ONLY: role in {Role.STATIC_TEXT, Role.PROGRESS_BAR},
        State.PROTECTED: style == SECRET,
        State.FOCUSED: focused,
    }
    state = State(sum(flag for flag, there in has.items() if there))
    if isinstance(widget, ttk.Entry):
        value = "" if style == SECRET else widget.get()
        return Element(role, caption.name, value, state, caption.shortcut)
    if role is Role.PROGRESS_BAR:
        return Element(role, "", state=state)
    name, marked = str(widget.cget("text")), int(str(widget.cget("underline")))
    return Element(
        Role.ALERT if style == ERROR else role,
        name,
        state=state,
        shortcut=f"Alt+{name[marked].upper()}" if marked >= 0 else "",
        announced=style in ANNOUNCED and widget.winfo_ismapped() and bool(name),
    )
