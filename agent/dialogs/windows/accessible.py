"""Tell screen readers on Windows what a window shows. Tk itself tells them nothing.

Windows asks each window handle for its IAccessible object (WM_GETOBJECT), and UI Automation makes
its elements from that, too. `CreateStdAccessibleObject` returns an object that knows the handle's
place, parent and children. Its table of methods is replaced by a copy with some methods of ours.

Windows calls these methods on Tk's thread, in the middle of Tk's work. They must not call Tk: that
confuses tkinter, which then ends the process. So they read what `refresh` has collected, and keep
the user's requests for the next `refresh`.
"""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("for Windows")

import ctypes
import tkinter as tk
import uuid
from collections.abc import Callable
from contextlib import suppress
from ctypes import POINTER, byref, c_long, c_ssize_t, c_void_p, cast, wintypes
from tkinter import ttk
from typing import TYPE_CHECKING

from agent.dialogs.elements import Element, Role, State, elements

WM_GETOBJECT = 0x003D
OBJID_CLIENT, GWLP_WNDPROC = -4, -4
CHILDID_SELF = 0
S_OK, S_FALSE = 0, 1
VT_EMPTY, VT_I4, VT_DISPATCH = 0, 3, 9
COINIT_APARTMENTTHREADED = 2
SELFLAG_TAKEFOCUS = 1
EVENT_ALERT, EVENT_FOCUS, EVENT_LIVE_REGION = 0x0002, 0x8005, 0x8019
EVENT_STATE, EVENT_NAME, EVENT_VALUE = 0x800A, 0x800C, 0x800E
NOTIFICATION_ACTION_COMPLETED, NOTIFICATION_ALL = 2, 2
IACCESSIBLE = uuid.UUID("618736e0-3c3d-11cf-810c-00aa00389b71").bytes_le
METHODS, ADD_REF, RELEASE = 28, 1, 2
"""Number of IAccessible's methods, with IUnknown's and IDispatch's; places of these two."""
PRESSED = {Role.BUTTON, Role.CHECK_BUTTON}
GONE = Element(Role.STATIC_TEXT, "", state=State.INVISIBLE)

# A VARIANT that is passed by value is passed as a pointer, because it is larger than a register.
Variant = c_void_p
if TYPE_CHECKING:
    Out = ctypes.Array[c_void_p]  # ctypes' own type of pointers has no public name
Wndproc = ctypes.WINFUNCTYPE(
    c_ssize_t, wintypes.HWND, wintypes.UINT, wintypes.WPARAM, wintypes.LPARAM
)
Get = ctypes.WINFUNCTYPE(c_long, c_void_p, Variant, POINTER(c_void_p))
GetFocus = ctypes.WINFUNCTYPE(c_long, c_void_p, POINTER(c_void_p))
Select = ctypes.WINFUNCTYPE(c_long, c_void_p, c_long, Variant)
Act = ctypes.WINFUNCTYPE(c_long, c_void_p, Variant)
Count = ctypes.WINFUNCTYPE(c_long, c_void_p)

user32, oleacc = ctypes.WinDLL("user32"), ctypes.OleDLL("oleacc")
oleaut32, ole32 = ctypes.WinDLL("oleaut32"), ctypes.OleDLL("ole32")
oleaut32.SysAllocString.argtypes = (wintypes.LPCWSTR,)
oleaut32.SysAllocString.restype = c_void_p
oleaut32.SysFreeString.argtypes = (c_void_p,)
oleacc.CreateStdAccessibleObject.argtypes = (
    wintypes.HWND, c_long, ctypes.c_char_p, POINTER(c_void_p),
)  # fmt: skip
oleacc.LresultFromObject.argtypes = (ctypes.c_char_p, wintypes.WPARAM, c_void_p)
oleacc.LresultFromObject.restype = c_ssize_t
user32.SetWindowLongPtrW.argtypes = (wintypes.HWND, ctypes.c_int, c_void_p)
user32.SetWindowLongPtrW.restype = c_void_p
user32.CallWindowProcW.argtypes = (
    c_void_p, wintypes.HWND, wintypes.UINT, wintypes.WPARAM, wintypes.LPARAM,
)  # fmt: skip
user32.CallWindowProcW.restype = c_ssize_t
user32.NotifyWinEvent.argtypes = (wintypes.DWORD, wintypes.HWND, c_long, c_long)


class Accessible:
    """The objects that screen readers see instead of the widgets of one window."""

    def __init__(self, root: tk.Tk) -> None:
        with suppress(OSError):  # the thread may have been initialised
            ole32.CoInitializeEx(None, COINIT_APARTMENTTHREADED)
        self._root = root
        self._shown: dict[tk.Misc, Element] = {}
        self._handles: dict[tk.Misc, int] = {}
        self._hooked: dict[int, tuple[c_void_p, int]] = {}
        """For each handle, its object and Tk's window procedure."""
        self._widgets: dict[int, tk.Misc] = {}  # the widget of each object's address
        self._asked_for: list[tuple[tk.Misc, bool]] = []  # widgets to press, or else to focus
        self._procedure = Wndproc(self._on_message)
        self._methods = {
            10: Get(self._getter(lambda element: element.name)),
            11: Get(self._getter(lambda element: element.value)),
            13: Get(self._getter(lambda element: element.role)),
            14: Get(self._getter(lambda element: element.state)),
            17: Get(self._getter(lambda element: element.shortcut)),
            18: GetFocus(self._get_focus),
            20: Get(self._getter(lambda element: "Press" if element.role in PRESSED else "")),
            21: Select(self._select),
            25: Act(self._act),
        }
        self._table: ctypes.Array[c_void_p] | None = None

    def refresh(self) -> None:
        """Do what a screen reader asked for, and tell it what has changed."""
        if self._asked_for:
            widget, press = self._asked_for.pop(0)
            self._do(widget, press=press)
            return  # the press may have closed the window
        found = elements(self._root)
        if all(State.INVISIBLE in element.state for element in found.values()):
            return  # Tk has not shown the window, or its new content, yet
        before = self._shown
        state = State.FOCUSABLE
        if self._root.focus_get() is self._root:  # no widget has the focus, as beside a code
            state |= State.FOCUSED
        dialog = Element(Role.DIALOG, self._root.title(), state=state)
        self._shown = {self._root: dialog, **found}
        for widget in before.keys() - self._shown.keys():
            self._detach(widget)
        for widget in self._shown.keys() - before.keys():
            self._attach(widget)
        for widget, element in self._shown.items():
            self._compare(widget, before.get(widget, GONE), element)
        said = {element.name for element in before.values() if element.announced}
        news = {
            element.name: widget
            for widget, element in self._shown.items()
            if element.announced and element.name not in said
        }
        for widget in news.values() if before else ():
            alert = self._shown[widget].role is Role.ALERT
            self._notify(EVENT_ALERT if alert else EVENT_LIVE_REGION, widget)
        if news:
            _raise_notification(self._handles[self._root], "\n".join(news))

    def _compare(self, widget: tk.Misc, old: Element, new: Element) -> None:
        """Raise an event for each field of the element that has changed."""
        state = old.state ^ new.state
        if state & new.state & State.FOCUSED:
            self._notify(EVENT_FOCUS, widget)
        if old is not GONE:
            changed = {
                EVENT_STATE: state & ~(State.FOCUSED | State.INVISIBLE),
                EVENT_NAME: old.name != new.name,
                EVENT_VALUE: old.value != new.value,
            }
            for event in (event for event, there in changed.items() if there):
                self._notify(event, widget)

    def _do(self, widget: tk.Misc, *, press: bool) -> None:
        if not widget.winfo_exists():
            return
        if press and isinstance(widget, ttk.Button | ttk.Checkbutton):
            widget.invoke()
        else:
            widget.focus_set()

    def _notify(self, event: int, widget: tk.Misc) -> None:
        user32.NotifyWinEvent(event, self._handles[widget], OBJID_CLIENT, CHILDID_SELF)

    def _attach(self, widget: tk.Misc) -> None:
        root = widget is self._root
        handle = int(self._root.wm_frame(), 16) if root else widget.winfo_id()
        made = c_void_p()
        oleacc.CreateStdAccessibleObject(handle, OBJID_CLIENT, IACCESSIBLE, byref(made))
        place = cast(made, POINTER(POINTER(c_void_p)))
        if self._table is None:
            self._table = (c_void_p * METHODS)(*place[0][:METHODS])
            for number, method in self._methods.items():
                self._table[number] = cast(method, c_void_p)
        place[0] = cast(self._table, POINTER(c_void_p))
        self._handles[widget], self._widgets[made.value or 0] = handle, widget
        before = user32.SetWindowLongPtrW(handle, GWLP_WNDPROC, cast(self._procedure, c_void_p))
        self._hooked[handle] = made, before

    def _detach(self, widget: tk.Misc) -> None:
        made, _ = self._hooked.pop(self._handles.pop(widget))
        del self._widgets[made.value or 0]
        _count(made.value or 0, RELEASE)

    # --- called by Windows

    def _on_message(self, handle: int, message: int, wparam: int, lparam: int) -> int:
        made, before = self._hooked[handle]
        if message == WM_GETOBJECT and c_long(lparam & 0xFFFFFFFF).value == OBJID_CLIENT:
            return int(oleacc.LresultFromObject(IACCESSIBLE, wparam, made))
        return int(user32.CallWindowProcW(before, handle, message, wparam, lparam))

    def _getter(self, find: Callable[[Element], str | int]) -> Callable[[int, int, Out], int]:
        """Return a method that gives what `find` returns: a text, or a number as VARIANT."""

        def get(this: int, _child: int, out: Out) -> int:
            found = find(self._element(this))
            return _text(found, out) if isinstance(found, str) else _variant(VT_I4, found, out)

        return get

    def _get_focus(self, this: int, out: Out) -> int:
        """Give the widget that has the keyboard focus; Windows itself knows only the window."""
        for address in self._widgets:
            if State.FOCUSED in self._element(address).state:
                if address == this:
                    return _variant(VT_I4, CHILDID_SELF, out)
                if self._widgets.get(this) is self._root:
                    _count(address, ADD_REF)  # the caller releases it
                    return _variant(VT_DISPATCH, address, out)
        return _variant(VT_EMPTY, 0, out)

    def _select(self, this: int, flags: int, _child: int) -> int:
        if flags & SELFLAG_TAKEFOCUS and this in self._widgets:
            self._asked_for.append((self._widgets[this], False))
        return S_OK

    def _act(self, this: int, _child: int) -> int:
        if this in self._widgets:
            self._asked_for.append((self._widgets[this], True))
        return S_OK

    def _element(self, this: int) -> Element:
        widget = self._widgets.get(this)
        return GONE if widget is None else self._shown.get(widget, GONE)


def _text(text: str, out: Out) -> int:
    out[0] = oleaut32.SysAllocString(text) if text else None
    return S_OK if text else S_FALSE


def _variant(kind: int, value: int, out: Out) -> int:
    """Write a VARIANT: its kind, and its value in the second half."""
    out[0], out[1] = kind, value
    return S_OK if kind else S_FALSE


def _count(address: int, method: int) -> None:
    """Call AddRef or Release of the object at this address."""
    table = cast(address, POINTER(POINTER(c_void_p)))[0]
    Count(table[method])(address)


def _raise_notification(handle: int, text: str) -> None:
    """Have Narrator read this text."""
    with suppress(OSError, AttributeError):  # there are no notifications before Windows 10 1709
        core, provider = ctypes.OleDLL("uiautomationcore"), c_void_p()
        notify = core.UiaRaiseNotificationEvent
        core.UiaHostProviderFromHwnd(wintypes.HWND(handle), byref(provider))
        texts = [c_void_p(oleaut32.SysAllocString(each)) for each in (text, "coconowork")]
        notify(provider, NOTIFICATION_ACTION_COMPLETED, NOTIFICATION_ALL, *texts)
        for each in texts:
            oleaut32.SysFreeString(each)
        _count(provider.value or 0, RELEASE)
