"""The dialogs' windows, in this process, on a real X display."""

from __future__ import annotations

import gc
import tkinter
from collections.abc import Callable, Iterator
from time import monotonic
from tkinter import ttk
from typing import Any

import pytest
from msgspec.structs import replace

from agent.dialogs import code, elements, password, status
from agent.dialogs import messages as msg
from agent.dialogs.window import Window
from tests.support.dialogs import ENGLISH, OLD, Client
from tests.support.polling import eventually

pytestmark = [pytest.mark.display, pytest.mark.usefixtures("display")]


class Shown:
    """A window in this process and its pipe's other end; the test runs its event loop."""

    def __init__(self, opening: msg.Open) -> None:
        self._to_dialog: list[msg.FromClient | None] = []
        self._from_dialog: list[msg.FromDialog] = []
        pipe: Any = self
        self.window = Window(opening, pipe, ENGLISH)
        kind = password.View if opening.snapshot is None else status.View
        self.content: Any = kind(self.window, opening)
        self.root = self.window.root
        self.root.deiconify()
        self.window.poll()
        self.turn_until(self.root.winfo_viewable)

    def send(self, message: msg.FromDialog) -> None:
        self._from_dialog.append(message)

    def arrived(self) -> list[msg.FromClient | None]:
        taken, self._to_dialog = self._to_dialog, []
        return taken

    def tell(self, message: msg.FromClient | None) -> None:
        self._to_dialog.append(message)

    def received(self) -> msg.FromDialog:
        return self._from_dialog.pop(0)

    def turn_until(self, what: Callable[[], object]) -> None:
        def look() -> object:
            self.root.update()
            return what()

        eventually(look)

    def texts(self) -> list[str]:
        """Return the texts in the window, from top to bottom."""

        def walk(widget: tkinter.Misc) -> Iterator[str]:
            for child in widget.winfo_children():
                if child.winfo_manager():
                    if "text" in (child.keys() or ()) and child.cget("text"):
                        yield str(child.cget("text"))
                    yield from walk(child)

        return list(walk(self.window.body))

    def buttons(self) -> list[ttk.Button]:
        """Return the buttons, from left to right."""
        *_, frame = self.window.body.winfo_children()
        return [each for each in frame.winfo_children() if isinstance(each, ttk.Button)]

    def close(self) -> None:
        if not self.gone():
            self.window.close()
        # Tcl aborts when another thread's garbage collection finds its objects.
        for name in ("root", "content", "window"):
            delattr(self, name)
        gc.collect()

    def entry(self, name: str = "password") -> Any:
        return self.content._entries[name]

    def submit(self, text: str) -> None:
        """Type a password and press Enter."""
        self.entry().insert("end", text)
        self.window.on_enter()
        self.root.update()

    def says(self, text: str) -> None:
        """Wait until the window shows `text`."""
        self.turn_until(lambda: text in " ".join(self.texts()))

    def shows_code(self) -> None:
        """Ask for a code, and send one to the window."""
        self.content._ask_code()
        self.says("Getting a code…")
        assert self.received() == msg.AskCode("gw.example.com")
        self.tell(SHOWN)
        self.says("BCDF-2345")

    def gone(self) -> bool:
        try:
            return not self.root.winfo_exists()
        except tkinter.TclError:
            return True


OPENING = msg.Open(server="gw.example.com", user="tanaka")


@pytest.fixture
def show() -> Iterator[Callable[[msg.Open], Shown]]:
    """Yield a function that closes the previous window and opens one."""
    made: list[Shown] = []

    def close() -> None:
        while made:
            made.pop().close()

    def new(opening: msg.Open) -> Shown:
        close()
        made.append(Shown(opening))
        return made[0]

    yield new
    close()


@pytest.fixture
def form(show: Callable[[msg.Open], Shown]) -> Shown:
    """Return the window that updates the password."""
    return show(OPENING)


def test_each_letter_for_alt_is_used_once(show: Callable[[msg.Open], Shown]) -> None:
    """Every control has its own Alt letter, except "Cancel" and "Close": Esc presses them."""
    snapshot = Client().dialogs._snapshot(OLD)
    for opening, letters in (
        (msg.Open(first=True), "SUPHCL"),
        (OPENING, "NHU"),
        (msg.Open(snapshot=snapshot), "UCOR"),
    ):
        found = elements.elements(show(opening).root).values()
        controls = [each for each in found if elements.State.FOCUSABLE in each.state]
        shortcuts = [each.shortcut for each in controls if each.name not in {"Cancel", "Close"}]
        assert shortcuts == [f"Alt+{letter}" for letter in letters]


def test_no_program_can_read_a_selected_password(form: Shown) -> None:
    """A password is shown only on request; selected, no other program gets its text."""
    field, root = form.entry(), form.root
    field.insert("end", "hidden-w0rd")
    for visible, shown in ((True, ""), (False, password.HIDDEN)):
        form.content._visible.set(visible)
        form.content._show_or_hide()
        assert field.cget("show") == shown
        field.selection_range(0, "end")
        root.update()
        with pytest.raises(tkinter.TclError):
            root.tk.call("selection", "get")
    root.clipboard_clear()
    field.event_generate("<<Copy>>")
    root.update()
    assert root.clipboard_get() == password.HIDDEN * len("hidden-w0rd")


WRONG = [
    # the field, the text typed into it, and the window's message
    ("user", "", "Enter the user name."),
    ("server", "x" * 3000, "This text is too long."),
    ("server", "", "Enter the server's name"),
    ("password", "", "Enter the password."),
    ("password", "x" * 3000, "too long"),
    ("password", "it\N{RIGHT SINGLE QUOTATION MARK}s-Passw0rd", "Character 3 "),
    ("password", "Pass\tw0rd", "Character 5 "),
    ("password", "\N{ZERO WIDTH SPACE}", "Enter the password."),
]


def test_what_cannot_be_right_is_said(show: Callable[[msg.Open], Shown]) -> None:
    """A wrong field keeps the window open; the error quotes nothing, and nothing is sent.

    A password that begins or ends with a blank gets a hint while the user types it.
    """
    form = show(replace(OPENING, first=True))
    for field, typed, said in WRONG:
        values = {"server": "gw.example.com", "user": "tanaka", "password": "x", field: typed}
        for name, value in values.items():
            form.content._values[name].set(value)
        form.submit("")
        form.says(said)
    form.content._values["server"].set("gw.example.com")
    hint = "The password begins or ends with a blank."
    form.content._values["password"].set("Passw0rd ")
    assert hint in form.texts()
    form.content._values["password"].set("Passw0rd")
    assert hint not in form.texts()
    form.content._values["password"].set("")
    form.submit("\tPassw0rd\r\n")
    assert form.received() == msg.Submit("gw.example.com", "tanaka", "\tPassw0rd\r\n")


def test_a_password_is_refused_and_another_accepted(form: Shown) -> None:
    """Pressing Enter twice logs in once, and no field can be changed until the answer.

    Refused text is selected and marked until the next try. An update has one field, which is
    marked also when the server's name is wrong. The window keeps its size. After success, the
    window no longer holds the password.
    """
    size = form.root.winfo_width(), form.root.winfo_height()
    refused = "The server's name is not known.\nNothing was changed.\nCheck the server's address."
    for field in ("password", "server"):
        form.submit("wrong ")
        form.window.on_enter()
        assert form.received() == msg.Submit("gw.example.com", "tanaka", "wrong ")
        assert form.entry().instate(["disabled", "!invalid"])
        form.says("Checking with the server…")
        assert "Nothing was changed." not in " ".join(form.texts())
        form.tell(msg.Refused(refused, field))
        form.says("Nothing was changed.")
        assert form.entry().selection_present()
        assert form.entry().instate(["!disabled", "invalid"])
        assert "Checking with the server…" not in form.texts()
        assert (form.root.winfo_width(), form.root.winfo_height()) == size
        form.entry().delete(0, "end")
    form.submit("New-Pass1")
    form.tell(msg.Accepted())
    form.says("The stored password has been updated")
    assert form.content._values["password"].get() == ""
    form.tell(None)  # the client has ended
    form.turn_until(form.gone)


def test_what_policy_sets_is_grey(show: Callable[[msg.Open], Shown]) -> None:
    """Server and user that policy sets cannot be edited, also after a refusal by the server."""
    form = show(replace(OPENING, first=True, fixed=["server", "user"]))
    form.submit("New-Pass1")
    form.tell(msg.Refused("no", "server"))
    form.turn_until(lambda: not form.content._busy)
    assert form.entry("server").instate(["disabled", "invalid"])
    assert form.entry("user").instate(["disabled", "!invalid"])
    assert form.entry().instate(["!disabled", "!invalid"])


def test_status_follows_the_client(show: Callable[[msg.Open], Shown]) -> None:
    """The window shows each new state; many equally wide buttons have two columns."""
    snapshot = Client().dialogs._snapshot(OLD)
    shown = show(msg.Open(snapshot=snapshot))
    assert snapshot.headline in shown.texts()
    buttons = shown.buttons()
    places = [(each.grid_info()["row"], each.grid_info()["column"]) for each in buttons]
    assert places == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 1)]
    assert len({each.winfo_width() for each in buttons}) == 1
    shown.tell(msg.Update(msg.Snapshot(picture="standby", headline="Waiting", lines=["a b"])))
    shown.turn_until(lambda: {"Waiting", "a b"} <= set(shown.texts()))
    assert snapshot.headline not in shown.texts()


FIRST = replace(OPENING, first=True, console_url="https://console.example.com/")
SHOWN = msg.ShowCode("BCDF-2345", ["apple", "bear", "bell", "bird"], 600)


def test_a_code_is_shown(
    show: Callable[[msg.Open], Shown], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The window shows code, words, instructions, and the minutes left."""
    form = show(replace(FIRST, fixed=["user"]))
    form.shows_code()
    said = " ".join(form.texts())
    for text in ("apple", "https://console.example.com/", "the user tanaka", "10 more minutes"):
        assert text in said
    clock = monotonic()
    monkeypatch.setattr(code, "monotonic", lambda: clock + 541)
    form.says("valid for 1 more minute.")


def test_from_the_code_back_to_the_password(show: Callable[[msg.Open], Shown]) -> None:
    """The text "No codes" is at the server's field; without a server, nothing is sent.

    Going back drops the code; the form keeps server and user, and forgets the password.
    """
    form = show(FIRST)
    form.entry("server").delete(0, "end")
    form.content._ask_code()
    form.says("Enter the server's name")
    form.entry("server").insert("end", "gw.example.com")
    form.content._ask_code()
    assert form.received() == msg.AskCode("gw.example.com")
    form.tell(msg.CodeEnded("No codes."))
    form.says("No codes.")
    assert form.entry("server").instate(["!disabled", "invalid"])
    form.entry().insert("end", "typed")
    form.shows_code()
    (back,) = [each for each in form.buttons() if each.cget("text") == "Enter the password"]
    back.invoke()
    assert form.received() == msg.DropCode()
    form.tell(msg.CodeEnded("late"))
    form.submit("Passw0rd")
    assert form.received() == msg.Submit("gw.example.com", "tanaka", "Passw0rd")
    assert "late" not in form.texts()


def test_the_confirmed_user_is_logged_in(show: Callable[[msg.Open], Shown]) -> None:
    """The window asks for consent once, shows the progress, and says that the PC is in standby.

    After a code has ended, Enter asks for another code.
    """
    form = show(FIRST)
    form.shows_code()
    form.window.on_enter()  # does nothing
    form.tell(msg.CodeEnded("The code has expired."))
    form.says("The code has expired.")
    form.window.on_enter()
    assert form.received() == msg.AskCode("gw.example.com")
    form.tell(SHOWN)
    form.says("BCDF-2345")
    form.tell(msg.Question("tanaka"))
    form.says("Connect this PC as the user tanaka?")
    assert "BCDF-2345" not in form.texts()
    connect, cancel = form.buttons()
    assert form.window.first is cancel
    connect.invoke()
    assert form.received() == msg.Confirm()
    form.says("Checking with the server…")
    form.tell(msg.Accepted())
    form.says("You are logged in")
