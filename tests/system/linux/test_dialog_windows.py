"""The dialogs' windows in this process, on a real X display and real pipes."""

from __future__ import annotations

import gc
import os
import threading
import tkinter
from collections.abc import Callable, Iterator
from time import monotonic
from tkinter import ttk
from typing import Any

import pytest
from msgspec.structs import replace

from agent.dialogs import code, elements, password, status
from agent.dialogs import messages as msg
from agent.dialogs.pipe import Pipe
from agent.dialogs.window import Window
from tests.support.dialogs import ASSETS, ENGLISH, OLD, Client
from tests.support.polling import eventually

pytestmark = [pytest.mark.display, pytest.mark.usefixtures("display")]


class Shown:
    """A window in this process, on real pipes, whose event loop the test runs."""

    def __init__(self, opening: msg.Open, kind: type[password.View] | type[status.View]) -> None:
        read, self._to_dialog = os.pipe()
        self._from_dialog, write_end = os.pipe()
        self._files = [os.fdopen(read, "rb", 0), os.fdopen(write_end, "wb", 0)]
        self.send(opening)
        self._pipe = Pipe(self._files[0], self._files[1])
        told = self._pipe.opening()
        assert told is not None
        self.window = Window(told, self._pipe, ENGLISH)
        self.content: Any = kind(self.window, told)
        self.root = self.window.root
        self.root.deiconify()
        self.window.poll()
        self.turn_until(self.root.winfo_viewable)

    def send(self, message: msg.FromClient) -> None:
        os.write(self._to_dialog, msg.encode(message))

    def received(self) -> msg.FromDialog:
        return msg.decode(os.read(self._from_dialog, 65536), msg.FROM_DIALOG)

    def turn_until(self, what: object) -> None:
        assert callable(what)

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
        os.close(self._to_dialog)
        eventually(lambda: "pipe" not in {thread.name for thread in threading.enumerate()})
        os.close(self._from_dialog)
        for file in self._files:
            file.close()
        # Tcl aborts when another thread's garbage collection finds its objects.
        for name in ("root", "content", "window", "_pipe"):
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
        """Wait until the window says this."""
        self.turn_until(lambda: text in " ".join(self.texts()))

    def shows_code(self) -> None:
        """Ask for a code and send one."""
        self.content._ask_code()
        self.says("Getting a code…")
        assert self.received() == msg.AskCode("gw.example.com")
        self.send(SHOWN)
        self.says("BCDF-2345")

    def gone(self) -> bool:
        try:
            return not self.root.winfo_exists()
        except tkinter.TclError:
            return True


OPENING = msg.Open(assets=str(ASSETS), server="gw.example.com", user="tanaka")


@pytest.fixture
def show() -> Iterator[Callable[..., Shown]]:
    """`show(opening, kind)` opens a window, and closes the one before."""
    made: list[Shown] = []

    def new(opening: msg.Open, kind: type[password.View] | type[status.View]) -> Shown:
        while made:
            made.pop().close()
        made.append(Shown(opening, kind))
        return made[-1]

    yield new
    for each in made:
        each.close()


@pytest.fixture
def form(show: Callable[..., Shown]) -> Shown:
    """Return the window that updates the password."""
    return show(OPENING, password.View)


def test_each_letter_for_alt_is_used_once(show: Callable[..., Shown]) -> None:
    """Every control but "Cancel" and "Close", which Esc presses, has a letter of its own."""
    snapshot = Client().dialogs._snapshot(OLD)
    for opening, kind, letters in (
        (msg.Open(assets=str(ASSETS), first=True), password.View, "SUPHCL"),
        (OPENING, password.View, "NHU"),
        (msg.Open(assets=str(ASSETS), snapshot=snapshot), status.View, "UCOR"),
    ):
        found = elements.elements(show(opening, kind).root).values()
        controls = [each for each in found if elements.State.FOCUSABLE in each.state]
        shortcuts = [each.shortcut for each in controls if each.name not in {"Cancel", "Close"}]
        assert shortcuts == [f"Alt+{letter}" for letter in letters]


def test_no_program_can_read_a_selected_password(form: Shown) -> None:
    """It is shown on request only; selected, it is not X's selection, and is copied as dots."""
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


def test_what_can_be_no_password_is_said(form: Shown) -> None:
    """The window stays, says what is wrong without quoting it, and sends nothing.

    A password that begins or ends with a blank gets a hint while the user types it.
    """
    for pasted, said in (
        ("", "Enter the password."),
        ("x" * 3000, "too long"),
        ("it\N{RIGHT SINGLE QUOTATION MARK}s-Passw0rd", "Character 3 "),
        ("Pass\tw0rd", "Character 5 "),
        ("\N{ZERO WIDTH SPACE}", "Enter the password."),
    ):
        form.submit(pasted)
        form.says(said)
        form.entry().delete(0, "end")
    hint = "The password begins or ends with a blank."
    form.entry().insert("end", "Passw0rd ")
    assert hint in form.texts()
    form.entry().delete(8, "end")
    assert hint not in form.texts()
    form.entry().delete(0, "end")
    form.submit("\tPassw0rd\r\n")
    assert form.received() == msg.Submit("gw.example.com", "tanaka", "\tPassw0rd\r\n")


def test_first_set_up(show: Callable[..., Shown]) -> None:
    """What cannot be an account is reported at its field, and the window stays."""
    form = show(replace(OPENING, first=True), password.View)
    for field, typed, said in (
        ("user", "", "Enter the user name."),
        ("server", "x" * 3000, "This text is too long."),
    ):
        form.entry(field).delete(0, "end")
        form.entry(field).insert("end", typed)
        form.submit("x")
        form.says(said)
        assert not form.gone()


def test_a_password_is_refused_and_another_accepted(form: Shown) -> None:
    """Enter twice is one login, during which nothing can be changed.

    A refused text is selected; an update shows the refusal of its server at its only field. After
    success the window has no password any more.
    """
    refused = "It is wrong. Nothing was changed."
    for field in ("password", "server"):
        form.submit("wrong")
        form.window.on_enter()
        assert form.received() == msg.Submit("gw.example.com", "tanaka", "wrong")
        assert form.entry().instate(["disabled"])
        form.says("Checking with the server…")
        form.send(msg.Refused(refused, field))
        form.says(refused)
        assert form.entry().selection_present()
        assert not form.entry().instate(["disabled"])
        assert "Checking with the server…" not in form.texts()
        form.entry().delete(0, "end")
    form.submit("New-Pass1")
    form.send(msg.Accepted())
    form.says("The stored password has been updated")
    assert form.content._values["password"].get() == ""
    form.window.on_enter()
    assert form.gone()


def test_an_error_leaves_the_window_as_large_as_it_was(show: Callable[..., Shown]) -> None:
    """There is room for an error and a hint; the field in question is marked until the next try."""
    form = show(replace(OPENING, first=True), password.View)
    size = form.root.winfo_width(), form.root.winfo_height()
    form.submit("wrong ")
    form.says("Checking with the server…")
    assert (form.root.winfo_width(), form.root.winfo_height()) == size
    sentences = "The server's name is not known.\nNothing was changed.\nCheck the server's address."
    form.send(msg.Refused(sentences, "server"))
    form.says("Nothing was changed.")
    assert (form.root.winfo_width(), form.root.winfo_height()) == size
    assert form.entry("server").instate(["invalid"])
    assert not form.entry().instate(["invalid"])
    form.window.on_enter()
    assert not form.entry("server").instate(["invalid"])
    assert "Nothing was changed." not in form.texts()


def test_status_follows_the_client(show: Callable[..., Shown]) -> None:
    """The status window shows each new state."""
    buttons = [msg.Button("Update", "update_password"), msg.Button("Reconnect", "reconnect")]
    first = msg.Snapshot(picture="busy", headline="Connecting…", buttons=buttons)
    shown = show(msg.Open(assets=str(ASSETS), snapshot=first), status.View)
    assert "Connecting…" in shown.texts()
    shown.send(msg.Update(msg.Snapshot(picture="standby", headline="Waiting", lines=["a b"])))
    shown.turn_until(lambda: {"Waiting", "a b"} <= set(shown.texts()))
    assert "Connecting…" not in shown.texts()


def test_many_buttons_stand_in_two_columns(show: Callable[..., Shown]) -> None:
    """All are equally wide, and the one that closes the window is at the lower right."""
    snapshot = Client().dialogs._snapshot(OLD)
    buttons = show(msg.Open(assets=str(ASSETS), snapshot=snapshot), status.View).buttons()
    places = [(each.grid_info()["row"], each.grid_info()["column"]) for each in buttons]
    assert places == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 1)]
    assert len({each.winfo_width() for each in buttons}) == 1


FIRST = replace(OPENING, first=True, console_url="https://console.example.com/")
SHOWN = msg.ShowCode("BCDF-2345", ["apple", "bear", "bell", "bird"], 600)


def test_a_code_is_shown(show: Callable[..., Shown], monkeypatch: pytest.MonkeyPatch) -> None:
    """Code, words, the way to use them, and the minutes that are left."""
    form = show(replace(FIRST, fixed=["user"]), password.View)
    form.shows_code()
    said = " ".join(form.texts())
    for text in ("apple", "https://console.example.com/", "the user tanaka", "10 more minutes"):
        assert text in said
    clock = monotonic()
    monkeypatch.setattr(code, "monotonic", lambda: clock + 541)
    form.says("valid for 1 more minute.")


def test_no_code_is_said_at_the_server(show: Callable[..., Shown]) -> None:
    """Without a server nothing is sent; what the server refuses is shown at its field."""
    form = show(FIRST, password.View)
    form.entry("server").delete(0, "end")
    form.content._ask_code()
    form.says("Enter the server's name")
    form.entry("server").insert("end", "gw.example.com")
    form.content._ask_code()
    assert form.received() == msg.AskCode("gw.example.com")
    form.send(msg.CodeEnded("No codes."))
    form.says("No codes.")
    assert not form.entry("server").instate(["disabled"])


def test_from_the_code_back_to_the_password(show: Callable[..., Shown]) -> None:
    """The code is dropped, and the form has what was typed but for the password."""
    form = show(FIRST, password.View)
    form.entry().insert("end", "typed")
    form.shows_code()
    (back,) = [each for each in form.buttons() if each.cget("text") == "Enter the password"]
    back.invoke()
    assert form.received() == msg.DropCode()
    form.send(msg.CodeEnded("late"))
    form.submit("Passw0rd")
    assert form.received() == msg.Submit("gw.example.com", "tanaka", "Passw0rd")
    assert "late" not in form.texts()


def test_the_confirmed_user_is_logged_in(show: Callable[..., Shown]) -> None:
    """The window asks for consent once, shows the progress, and says that the PC waits."""
    form = show(FIRST, password.View)
    form.shows_code()
    form.send(msg.Question("tanaka"))
    form.says("Connect this PC as the user tanaka?")
    assert "BCDF-2345" not in form.texts()
    connect, cancel = form.buttons()
    assert form.window.first is cancel
    connect.invoke()
    assert form.received() == msg.Confirm()
    form.says("Checking with the server…")
    form.send(msg.Accepted())
    form.says("You are logged in")


def test_garbage_from_the_client_ends_the_window(form: Shown) -> None:
    """A message that cannot be decoded closes the window."""
    os.write(form._to_dialog, b"garbage\n")
    form.turn_until(form.gone)


def test_what_policy_sets_is_grey(show: Callable[..., Shown]) -> None:
    """Server and user by policy are shown and cannot be typed over, also after a refusal."""
    form = show(replace(OPENING, first=True, fixed=["server", "user"]), password.View)
    form.submit("New-Pass1")
    form.send(msg.Refused("no"))
    form.turn_until(lambda: not form.content._busy)
    for name in ("server", "user"):
        assert form.entry(name).instate(["disabled"])
