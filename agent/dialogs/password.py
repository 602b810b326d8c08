"""The window 'Update the stored password'; at the first log-in it asks for server and user, too."""

from __future__ import annotations

import sys
import tkinter as tk
from tkinter import ttk

from agent.core.wording import password_hint, password_problem
from agent.dialogs import messages as msg
from agent.dialogs.code import CodeView
from agent.dialogs.elements import SECRET
from agent.dialogs.window import Window
from protocol.text import clean

CAPS_LOCK = 0x2  # the bit in the state of a key event
HIDDEN = "●"
MESSAGE_LINES = 3  # kept free for an error: what is wrong, that nothing was changed, what to do


class View:
    """Show the form, the progress while the client verifies the password, and the confirmation."""

    def __init__(self, window: Window, opening: msg.Open) -> None:
        self._window = window
        self._opening = opening
        self._values = {
            "server": tk.StringVar(window.root, opening.server),
            "user": tk.StringVar(window.root, opening.user),
            "password": tk.StringVar(window.root),
        }
        self._entries: dict[str, ttk.Entry] = {}
        self._visible = tk.BooleanVar(window.root, value=False)
        self._busy = self._awaits_code = self._caps_lock = False
        window.first = self.build()
        self._values["password"].trace_add("write", lambda *_names: self._show_hint())

    def build(self) -> tk.Misc:
        """Draw the form; return the widget that gets the keyboard focus."""
        window, _ = self._window, self._window.translate
        first = self._opening.first
        title = _("Log in to coconowork") if first else _("Update the stored password")
        window.root.title(f"{title} — coconowork client")
        window.heading("app", title)
        if first:
            window.paragraph(_("Enter the user that this PC waits for."))
        else:
            window.paragraph(_("Enter the new password that was set in the management console."))
        for note in self._opening.notes:
            window.paragraph(note, style="Warning.TLabel")
        for label, value in self._opening.rows:
            window.row(label, value)
        if first:
            self._field("server", _("&Server"))
            self._field("user", _("&User name"))
        entry = self._field("password", _("&Password") if first else _("&New password"))
        # Text selected in this field must not become X's selection, which every program can read.
        entry.configure(show=HIDDEN, exportselection=False, style=SECRET)
        entry.bind("<KeyPress>", self._look_for_caps_lock)
        _without_input_method(window.root, entry)
        ttk.Checkbutton(
            window.body,
            **window.marked(_("S&how the password")),
            variable=self._visible,
            command=self._show_or_hide,
        ).grid(row=window.new_row(), column=1, sticky="w", pady=(window.px(2), 0))
        self._build_messages()
        offers = [(_("Use a &code instead"), self._ask_code)] if first else []
        *self._others, self._ok, self._cancel = window.buttons(
            *offers,
            (_("&Log in") if first else _("&Update"), self._submit),
            (_("Cancel"), window.close),
            default=len(offers),
        )
        window.on_message, window.on_enter = self._take, self._submit
        empty = [name for name in self._entries if not self._values[name].get()]
        return self._entries[empty[0]]

    def _field(self, name: msg.Field, label: str) -> ttk.Entry:
        window = self._window
        row = window.new_row()
        ttk.Label(window.body, **window.marked(label)).grid(
            row=row, column=0, sticky="w", padx=(0, window.px(14)), pady=window.px(4)
        )
        entry = ttk.Entry(window.body, textvariable=self._values[name], width=34)
        entry.grid(row=row, column=1, sticky="ew", pady=window.px(4))
        entry.bind("<Control-a>", _select_all)
        if name in self._opening.fixed:
            entry.state(["disabled"])
        self._entries[name] = entry
        return entry

    def _build_messages(self) -> None:
        """Add a place for error, hint and progress, so that the window keeps its size."""
        window = self._window
        place = ttk.Frame(window.body)
        place.grid(
            row=window.new_row(), column=0, columnspan=2, sticky="ew", pady=(window.px(6), 0)
        )
        place.columnconfigure(0, weight=1)
        self._error = ttk.Label(place, style="Error.TLabel", text="\n" * (MESSAGE_LINES - 1))
        self._hint = ttk.Label(place, style="Hint.TLabel")
        self._progress = ttk.Progressbar(place, mode="indeterminate")
        messages = (self._error, self._hint, self._progress)
        room = ttk.Frame(place, height=self._error.winfo_reqheight())
        room.grid(row=0, column=1, rowspan=len(messages) + 1)
        place.rowconfigure(len(messages), weight=1)
        for row, widget in enumerate(messages):
            widget.grid(row=row, column=0, sticky="ew")
            widget.grid_remove()

    # --- what the user does

    def _show_or_hide(self) -> None:
        self._entries["password"].configure(show="" if self._visible.get() else HIDDEN)

    def _look_for_caps_lock(self, event: tk.Event[tk.Misc]) -> None:
        self._caps_lock = isinstance(event.state, int) and bool(event.state & CAPS_LOCK)
        self._show_hint()

    def _show_hint(self) -> None:
        if not self._hint.winfo_exists():  # the form is not shown any more
            return
        _ = self._window.translate
        hint = password_hint(self._values["password"].get(), _)
        self._say(self._hint, _("Caps Lock is on.") if self._caps_lock else hint)

    def _submit(self) -> None:
        if self._busy:
            return
        _ = self._window.translate
        self._clear_errors()
        missing = {
            "server": _("Enter the server's name, such as gw.example.com."),
            "user": _("Enter the user name."),
        }
        values = {name: variable.get() for name, variable in self._values.items()}
        for name in self._entries:
            problem = "" if values[name].strip() else missing.get(name, "")
            if len(values[name]) > msg.MAX_TEXT:
                problem = _("This text is too long.")
            if name == "password":
                problem = password_problem(values[name], _)
            if problem:
                self._complain(name, problem)
                return
        self._set_busy(_("Checking with the server…"))
        self._window.send(msg.Submit(values["server"], values["user"], values["password"]))

    def _ask_code(self) -> None:
        _, server = self._window.translate, self._values["server"].get()
        self._clear_errors()
        if not server.strip():
            self._complain("server", _("Enter the server's name, such as gw.example.com."))
            return
        self._values["password"].set("")
        self._set_busy(_("Getting a code…"))
        self._awaits_code = True
        self._window.send(msg.AskCode(server[: msg.MAX_TEXT]))

    # --- what the client answers

    def _take(self, message: msg.FromClient) -> None:
        match message:
            case msg.Refused(text, field):
                self._set_busy("")
                self._complain(field, text)
            case msg.CodeEnded(text) if self._awaits_code:
                self._set_busy("")
                self._complain("server", text)
            case msg.ShowCode() if self._awaits_code:
                self._show_code(message)
            case msg.Accepted():
                self.confirm()

    def _show_code(self, code: msg.ShowCode) -> None:
        server = self._values["server"].get()
        self._set_busy("")
        CodeView(self._window, self._opening, server, self.build, self.confirm).take(code)

    def _complain(self, name: str, text: str) -> None:
        name = name if name in self._entries else "password"
        lines = [clean(line, 300) for line in text.splitlines()[:5]]
        self._say(self._error, "\n".join(lines))
        entry = self._entries[name]
        entry.state(["invalid"])
        entry.focus_set()
        entry.selection_range(0, "end")
        self._window.root.bell()

    def _clear_errors(self) -> None:
        self._say(self._error, "")
        for entry in self._entries.values():
            entry.state(["!invalid"])

    def _say(self, label: ttk.Label, text: str) -> None:
        """Show `text`, wrapped to the window's width; hide the label of an empty text."""
        padding = int(str(self._window.body.cget("padding")[0]))
        width = self._window.body.winfo_width() - 2 * padding
        label.configure(text=text, wraplength=width)
        if text:
            label.grid()
        else:
            label.grid_remove()

    def _set_busy(self, what: str) -> None:
        """Show `what` the client does, and lock the form; an empty text unlocks it."""
        self._busy = busy = bool(what)
        self._awaits_code = False
        changeable = [e for name, e in self._entries.items() if name not in self._opening.fixed]
        for widget in (*changeable, *self._others, self._ok):
            widget.state(["disabled" if busy else "!disabled"])
        self._say(self._hint, what)
        if busy:
            self._progress.grid()
            self._progress.start()
            self._cancel.focus_set()
        else:
            self._progress.stop()
            self._progress.grid_remove()

    def confirm(self) -> None:
        """Say that the password is stored, and forget what was typed."""
        window, _ = self._window, self._window.translate
        for name in ("password", "user", "server"):
            self._values[name].set("")
        window.on_enter = window.close

        def draw() -> tk.Misc:
            if self._opening.first:
                window.heading("standby", _("You are logged in"))
                window.paragraph(
                    _("The password was right and has been stored. This PC now waits.")
                )
            else:
                window.heading("standby", _("The stored password has been updated"))
                window.paragraph(_("The new password was right and has been stored."))
            (button,) = window.buttons((_("Close"), window.close))
            return button

        window.redraw(draw)


def _select_all(event: tk.Event[tk.Misc]) -> str:
    """Select all, as Tk does on Windows; elsewhere Tk moves the cursor to the line's beginning."""
    if isinstance(event.widget, ttk.Entry):
        event.widget.selection_range(0, "end")
    return "break"


def _without_input_method(root: tk.Tk, entry: ttk.Entry) -> None:
    """Switch the Japanese input method off on Windows while `entry` has the keyboard focus."""
    if sys.platform != "win32":
        return
    import ctypes
    from ctypes import wintypes

    default_context = 0x10
    associate = ctypes.WinDLL("imm32").ImmAssociateContextEx
    associate.argtypes = (wintypes.HWND, wintypes.HANDLE, wintypes.DWORD)

    def switch(flags: int) -> None:
        # Tk gives the keyboard focus to the field's window, or to a window around it.
        for window in (entry.winfo_id(), root.winfo_id(), int(root.wm_frame(), 16)):
            associate(window, None, flags)

    entry.bind("<FocusIn>", lambda _: switch(0), add=True)
    entry.bind("<FocusOut>", lambda _: switch(default_context), add=True)
