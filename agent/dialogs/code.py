"""The log-in window with a code instead of user name and password.

The window shows the code, then asks whether the user is right, then shows the progress of the
login. The password stays on the client's side of the pipe.
"""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil
from time import monotonic
from tkinter import ttk

from agent.core.wording import code_steps, code_validity
from agent.dialogs import messages as msg
from agent.dialogs.window import Window
from protocol.text import clean


@dataclass
class CodeView:
    """Show a code of `server`."""

    window: Window
    opening: msg.Open
    server: str
    build_form: Callable[[], tk.Misc]  # draws the form for a password
    confirm: Callable[[], None]  # says that a password is stored
    _left: ttk.Label | None = field(default=None, init=False)  # says how long the code is valid
    _ends_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._ = self.window.translate
        self.window.on_message, self.window.on_turn = self.take, self._count_down

    def take(self, message: msg.FromClient) -> None:
        match message:
            case msg.ShowCode():
                self._draw(lambda: self._code(message))
            case msg.Question(user):
                self._draw(lambda: self._question(user))
                self.window.on_top()
            case msg.CodeEnded(text):
                self._draw(lambda: self._ended(text))
                self.window.root.bell()
            case msg.Accepted():
                self.confirm()

    def _draw(self, draw: Callable[[], tk.Misc]) -> None:
        self._left = None
        self.window.on_enter = lambda: None
        self.window.redraw(draw)

    # --- what is shown

    def _code(self, code: msg.ShowCode) -> tk.Misc:
        window, _ = self.window, self._
        self._heading(_("Log in by a code"))
        window.paragraph(code_steps(self.opening.console_url, _))
        if "user" in self.opening.fixed:
            text = _("Your administrator has set the user {user}: type the code as this user.")
            window.paragraph(text.format(user=self.opening.user), style="Warning.TLabel")
        window.paragraph(code.code, style="Code.TLabel")
        window.paragraph("  ".join(code.words), style="Heading.TLabel")
        self._ends_at = monotonic() + code.expires_in_s
        self._left = window.paragraph("", style="Quiet.TLabel")
        self._count_down()
        return self._buttons()

    def _count_down(self) -> None:
        if self._left is None:
            return
        minutes = max(1, ceil((self._ends_at - monotonic()) / 60))
        text = code_validity(minutes, self.window.translations)
        if self._left.cget("text") != text:
            self._left.configure(text=text)

    def _question(self, user: str) -> tk.Misc:
        """Ask; "Cancel" has the keyboard focus, so that no key pressed by chance agrees."""
        window, _ = self.window, self._
        question = _("Connect this PC as the user {user}?").format(user=clean(user, 64))
        self._heading(question, title=_("Connect this PC?"))  # a name would make the title too long
        window.paragraph(
            _("This user has typed the code. If this is not your user name, choose Cancel.")
        )
        _connect, cancel = window.buttons(
            (_("C&onnect"), self._agree), (_("Cancel"), window.close), default=1
        )
        return cancel

    def _progress(self, text: str) -> tk.Misc:
        window, _ = self.window, self._
        self._heading(_("Log in by a code"))
        window.paragraph(text)
        bar = ttk.Progressbar(window.body, mode="indeterminate")
        bar.grid(row=window.new_row(), column=0, columnspan=2, sticky="ew")
        bar.start()
        window.buttons((_("Cancel"), window.close), default=-1)
        return window.root

    def _ended(self, text: str) -> tk.Misc:
        self._heading(self._("Log in by a code"))
        for line in text.splitlines()[:5]:
            self.window.paragraph(clean(line, 300), style="Error.TLabel")
        self.window.on_enter = self._ask_again
        return self._buttons((self._("Get a &new code"), self._ask_again))

    def _heading(self, text: str, *, title: str = "") -> None:
        self.window.root.title(f"{title or text} — coconowork client")
        self.window.heading("app", text)

    def _buttons(self, *first: tuple[str, Callable[[], None]]) -> tk.Misc:
        """Add `first`, "Enter the password" and "Cancel"; return the widget that gets the focus."""
        window, _ = self.window, self._
        made = window.buttons(
            *first,
            (_("Enter the &password"), self._back),
            (_("Cancel"), window.close),
            default=0 if first else -1,
        )
        return made[0] if first else window.root

    # --- what the user does

    def _agree(self) -> None:
        self._draw(lambda: self._progress(self._("Checking with the server…")))
        self.window.send(msg.Confirm())

    def _ask_again(self) -> None:
        self._draw(lambda: self._progress(self._("Getting a code…")))
        self.window.send(msg.AskCode(self.server))

    def _back(self) -> None:
        self.window.send(msg.DropCode())
        self.window.on_turn = lambda: None
        self.window.redraw(self.build_form)
