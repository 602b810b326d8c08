"""The dialogs on a real X display: as processes with real keys, and as windows in this process."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import tkinter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from gettext import NullTranslations
from pathlib import Path
from time import monotonic
from tkinter import ttk
from typing import Any, Literal

import pytest
from msgspec.structs import replace

from agent.core.failure import Failure, Reason
from agent.core.state import State
from agent.core.view import Command, View
from agent.dialogs import code, elements, password, status
from agent.dialogs import messages as msg
from agent.dialogs.host import ProcessDialogs
from agent.dialogs.pairing import CodeAttempts
from agent.dialogs.pipe import MAX_WAITING, Pipe
from agent.dialogs.window import Window
from agent.pairing import Code, PairingFailed
from agent.settings import Settings
from protocol.pairing import words
from tests.support.places import ROOT
from tests.support.polling import eventually
from tests.support.x11 import press, ready, screen, xdotool

ASSETS = ROOT / "agent" / "assets"
ENGLISH = NullTranslations()
SERVER = "wss://gw.example.com/gateway"
OLD = View(
    State.STANDBY_OLD_PASSWORD,
    server=SERVER,
    user="tanaka",
    days_left=30,
    valid_until=datetime(2026, 12, 23, 3, tzinfo=UTC),
)
LOGGED_OUT = View(State.LOGGED_OUT)
SUGGESTED = Settings(server=SERVER)
ENFORCED = Settings(server=SERVER, user="tanaka", enforced=frozenset({"server", "user"}))

pytestmark = pytest.mark.display


@pytest.fixture(scope="module", autouse=True)
def display() -> Iterator[None]:
    with screen() as name, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISPLAY", name)
        patch.setenv("LC_ALL", "C.UTF-8")
        yield


# --- with the process


class Client:
    """The client behind the dialogs; `answers` has the result of each password."""

    def __init__(self, settings: Settings = SUGGESTED, start: list[str] | None = None) -> None:
        self.view = OLD
        self.submitted: list[tuple[str, str, str]] = []
        self.answers: dict[str, Reason | None] = {}
        self.picked: list[Command] = []
        self.unanswered: list[Future[Reason | None]] = []
        self.pairings: list[Pairing] = []
        self.dialogs = ProcessDialogs(
            log_in=self.log_in,
            pair=self.pair,
            view=lambda: self.view,
            on_command=self.picked.append,
            assets=ASSETS,
            translations=ENGLISH,
            settings=settings,
            start=start,
        )

    def answer(self, message: msg.FromDialog, *, first: bool = False) -> msg.FromClient | None:
        """Return what the client answers to a window, which is that of the first log-in or not."""
        return self.dialogs._answer(message, first=first, codes=self.dialogs._codes())

    def log_in(self, server: str, user: str, password: str) -> Future[Reason | None]:
        self.submitted.append((server, user, password))
        future: Future[Reason | None] = Future()
        if password in self.answers:
            future.set_result(self.answers[password])
        else:
            self.unanswered.append(future)
        return future

    def pair(
        self, server: str, show: Callable[[Code], None], ask: Callable[[str], Future[None]]
    ) -> Future[Reason | None]:
        self.pairings.append(Pairing(server, show, ask))
        self.unanswered.append(self.pairings[-1].done)
        return self.pairings[-1].done


@dataclass
class Pairing:
    """A code that a window has asked for."""

    server: str
    show: Callable[[Code], None]
    ask: Callable[[str], Future[None]]
    done: Future[Reason | None] = field(default_factory=Future)


CODE = Code("BCDF-2345", words("BCDF2345", f"{'A' * 43}="), 600)


@pytest.fixture
def client() -> Iterator[Client]:
    made = Client()
    yield made
    opened = made.dialogs._open is not None
    made.dialogs.close()
    for future in made.unanswered:
        future.cancel()
    if opened:
        eventually(lambda: not windows())


def windows() -> list[str]:
    """Return the ids of the dialogs on the screen."""
    command = ["xdotool", "search", "--onlyvisible", "--class", "coconowork-client"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()


def write(text: str) -> None:
    xdotool("type", "--delay", "20", text)


def test_right_password_is_confirmed(client: Client) -> None:
    """A password can be typed, sent and confirmed by keyboard alone, and no program reads it."""
    client.dialogs.ask_password()
    ready("Update the stored password")
    write("New-Pass1")
    press("Return")
    eventually(lambda: client.submitted == [(SERVER, "tanaka", "New-Pass1")])
    shown = client.dialogs._open
    assert shown is not None
    proc = Path("/proc") / str(shown._process.pid)
    seen = (proc / "cmdline").read_bytes() + (proc / "environ").read_bytes()
    assert b"New-Pass1" not in seen
    assert b"dialog" in seen
    client.unanswered.pop().set_result(None)

    def closed_by_enter() -> bool:
        press("Return")
        return not windows()

    eventually(closed_by_enter)
    assert len(client.submitted) == 1


def test_one_window_at_a_time(client: Client) -> None:
    """A password that is being typed is not lost to a status window."""
    client.dialogs.show_status()
    ready("coconowork client")
    client.dialogs.show_status()
    client.dialogs.ask_password()
    ready("Update the stored password")
    write("typed")
    client.dialogs.show_status()
    client.dialogs.ask_password()
    press("Return")
    eventually(lambda: client.submitted == [(SERVER, "tanaka", "typed")])
    assert len(windows()) == 1


def test_quiet_status_leaves_the_keyboard(client: Client) -> None:
    """A window that the user has not asked for takes no focus; asked for, it does."""
    client.dialogs.show_status(quietly=True)
    (window,) = eventually(windows)
    assert xdotool("getwindowfocus").strip() != window
    client.dialogs.show_status()
    ready("coconowork client")
    client.dialogs.ask_password()
    ready("Update the stored password")
    client.dialogs.show_status(quietly=True)
    press("x", "Escape")
    eventually(lambda: not windows())


def test_window_goes_with_the_client(client: Client) -> None:
    """A client that ends leaves no window behind that cannot work."""
    client.dialogs.ask_password()
    ready("Update the stored password")
    shown = client.dialogs._open
    assert shown is not None
    shown.hang_up()
    eventually(lambda: not windows())
    eventually(lambda: not shown.alive)
    assert shown._process.returncode == 0


def test_window_that_reads_nothing_is_killed(caplog: pytest.LogCaptureFixture) -> None:
    """What waits for a window is bounded; a closed one gets nothing."""
    client = Client(start=[sys.executable, "-c", "import time; time.sleep(1000)"])
    client.dialogs.show_status()
    shown = client.dialogs._open
    assert shown is not None
    for _ in range(10_000):
        client.dialogs.refresh(OLD)
    eventually(lambda: not shown.alive)
    assert "the window status hangs" in caplog.text
    waiting = shown._outgoing.qsize()
    client.dialogs.refresh(OLD)
    assert shown._outgoing.qsize() <= waiting
    client.dialogs.close()


def test_window_takes_in_no_more_than_it_shows() -> None:
    """A window that is busy leaves what the client sends in the pipe."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as ours, os.fdopen(writing, "wb", buffering=0) as theirs:
        theirs.write(msg.encode(msg.Open(assets="")))
        pipe = Pipe(ours, theirs)
        assert pipe.opening() is not None
        for _ in range(2 * MAX_WAITING):
            theirs.write(msg.encode(msg.Front()))
        eventually(pipe._arrived.full)
        left = [2 * MAX_WAITING]

        def all_taken() -> bool:
            left[0] -= len(pipe.arrived())
            return left[0] == 0

        eventually(all_taken)


# --- what the client answers


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        (msg.Submit("ws://gw.example.com", "tanaka", "x"), "server"),
        (msg.Submit("", "tanaka", "x"), "server"),
        (msg.Submit("gw.example.com", "", "x"), "user"),
        (msg.Submit("gw.example.com", "a" * 300, "x"), "user"),
    ],
)
def test_what_cannot_be_right_is_said_at_its_field(
    client: Client, typed: msg.Submit, field: str
) -> None:
    """Each impossible entry is refused at its field, and nothing is sent."""
    client.view = LOGGED_OUT
    answer = client.answer(typed)
    assert isinstance(answer, msg.Refused)
    assert answer.field == field
    assert answer.text
    assert client.submitted == []


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_said(client: Client, reason: Reason) -> None:
    """Each reason says that nothing was changed, and none that the client keeps trying.

    A wrong server is reported with the warning to type no password.
    """
    client.answers["x"] = reason
    answer = client.answer(msg.Submit("", "", "x"))
    assert isinstance(answer, msg.Refused)
    assert "Nothing was changed." in answer.text
    assert "keeps trying" not in answer.text
    assert "again later" not in answer.text
    warning = "Do not enter your password anywhere."
    assert (warning in answer.text) == (reason is Reason.IMPOSTOR)


@pytest.mark.parametrize(
    ("view", "settings", "first", "chosen"),
    [
        pytest.param(OLD, SUGGESTED, False, False, id="the stored account is updated"),
        pytest.param(LOGGED_OUT, ENFORCED, True, False, id="a policy names server and user"),
        pytest.param(OLD, ENFORCED, True, False, id="the same, and a user is logged in"),
        pytest.param(OLD, SUGGESTED, True, True, id="another account is chosen"),
    ],
)
def test_what_a_dialog_can_choose(
    view: View, settings: Settings, *, first: bool, chosen: bool
) -> None:
    """Server and user that a dialog sends are ignored where the user may not choose them."""
    client = Client(settings)
    client.view, client.answers["x"] = view, None
    client.answer(msg.Submit("other.example.com", "eve", "x"), first=first)
    other = ("wss://other.example.com/gateway", "eve", "x")
    assert client.submitted == [other if chosen else (SERVER, "tanaka", "x")]


def test_another_account_and_logging_out(client: Client) -> None:
    """The log-in window has the fields of the account in use; logging out asks first."""
    client.dialogs.ask_password(change_account=True)
    ready("Log in to coconowork")
    press("alt+u", "ctrl+a")  # from the password, which is empty, to the user
    write("suzuki")
    press("alt+p")
    write("New-Pass1")
    press("alt+l")
    eventually(lambda: client.submitted == [(SERVER, "suzuki", "New-Pass1")])
    client.unanswered.pop().set_result(None)
    shown = client.dialogs._open
    assert shown is not None

    def closed_by_escape() -> bool:
        press("Escape")
        return not shown.alive

    # The confirmation takes the place of the form, which for a moment leaves a key without widget.
    eventually(closed_by_escape)
    client.dialogs.ask_log_out()
    ready("coconowork client")
    press("alt+o")
    eventually(lambda: client.picked == [Command.LOG_OUT_NOW])


def test_a_password_by_a_code(client: Client) -> None:
    """By keyboard: a code, the question about its user, the login; a refused one, another code."""
    client.view = LOGGED_OUT
    client.dialogs.ask_password()
    ready("Log in to coconowork")
    press("Tab", "Tab", "Tab", "space")  # from the user's name: password, its switch, the code
    (first,) = eventually(lambda: client.pairings)
    first.show(CODE)
    ready("Log in by a code")
    press("Return")  # does nothing
    agreed = first.ask("tanaka")
    ready("Connect this PC?")
    press("shift+Tab", "space")  # from "Cancel" to "Connect"
    eventually(agreed.done)
    first.done.set_result(Reason.CREDENTIALS)

    def got_a_new_code() -> list[Pairing]:
        press("Return")
        return client.pairings[1:]

    (second,) = eventually(got_a_new_code)
    assert (first.server, second.server) == (SERVER, SERVER)
    second.show(CODE)
    press("Escape")
    eventually(second.done.cancelled)
    second.show(CODE)
    second.ask("tanaka")
    assert client.submitted == []


def test_a_window_is_told_of_its_newest_code_only(client: Client) -> None:
    """What an earlier code still reports is dropped, and so is what comes after the end."""
    told: list[msg.FromClient] = []
    codes = CodeAttempts(client.pair, refused=lambda reason: reason.value, translations=ENGLISH)
    codes.send = told.append
    codes.begin("a")
    codes.begin("b")
    old, new = client.pairings
    assert old.done.cancelled()
    old.show(CODE)
    assert not old.ask("tanaka").done()
    assert told == []
    new.show(CODE)
    assert told == [msg.ShowCode("BCDF-2345", [each.en for each in CODE.words], 600)]
    codes.end()
    assert new.done.cancelled()
    assert len(told) == 1


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PairingFailed(Failure(Reason.NO_CODES)), "does not offer codes"),
        (PairingFailed(Failure(Reason.THROTTLED, 90)), "Try again in 2 minutes."),
        (None, "The code has expired."),
        (OSError("secret"), "The program has a defect."),
    ],
)
def test_why_a_code_has_ended(client: Client, error: Exception | None, said: str) -> None:
    """The window says what is wrong; a sleep of the PC ends the code."""
    told: list[msg.FromClient] = []
    codes = CodeAttempts(client.pair, refused=lambda reason: reason.value, translations=ENGLISH)
    codes.send = told.append
    codes.begin("a")
    if error is None:
        client.pairings[0].done.cancel()
    else:
        client.pairings[0].done.set_exception(error)
    (ended,) = told
    assert isinstance(ended, msg.CodeEnded)
    assert said in ended.text
    assert "secret" not in ended.text


@pytest.mark.parametrize("settings", [SUGGESTED, ENFORCED])
def test_which_server_a_code_is_from(settings: Settings) -> None:
    """The typed one, unless policy names it; none for a window that offers no code."""
    client = Client(settings)
    client.answer(msg.AskCode("other.example.com"), first=True)
    client.answer(msg.AskCode("gw.example.com"))
    chosen = SERVER if settings is ENFORCED else "wss://other.example.com/gateway"
    assert [each.server for each in client.pairings] == [chosen]
    answer = client.answer(msg.AskCode("ws://gw.example.com"), first=True)
    assert isinstance(answer, msg.Refused)
    assert answer.field == "server"


def test_unknown_command_is_ignored(client: Client) -> None:
    """A dialog can start no command that the client does not know."""
    assert client.answer(msg.Picked("format_disk")) is None
    assert client.picked == []


def test_nothing_secret_is_shown_by_repr() -> None:
    """The text form of a submitted password does not have the password."""
    assert "s3cret" not in repr(msg.Submit("a", "b", "s3cret"))


# --- the windows themselves


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

    def gone(self) -> bool:
        try:
            return not self.root.winfo_exists()
        except tkinter.TclError:
            return True


OPENING = msg.Open(assets=str(ASSETS), server="gw.example.com", user="tanaka")


@pytest.fixture
def show() -> Iterator[Callable[..., Shown]]:
    """`show(opening, kind)` opens a window."""
    made: list[Shown] = []

    def new(opening: msg.Open, kind: type[password.View] | type[status.View]) -> Shown:
        made.append(Shown(opening, kind))
        return made[-1]

    yield new
    for each in made:
        each.close()


@pytest.fixture
def form(show: Callable[..., Shown]) -> Shown:
    """Return the window that updates the password."""
    return show(OPENING, password.View)


@pytest.mark.parametrize(
    ("opening", "kind", "letters"),
    [
        (msg.Open(assets=str(ASSETS), first=True), password.View, "SUPHCL"),
        (OPENING, password.View, "NHU"),
        (
            msg.Open(assets=str(ASSETS), snapshot=Client().dialogs._snapshot(OLD)),
            status.View,
            "UCOR",
        ),
    ],
)
def test_each_letter_for_alt_is_used_once(
    show: Callable[..., Shown], opening: msg.Open, kind: type[Any], letters: str
) -> None:
    """Every control but "Cancel" and "Close", which Esc presses, has a letter of its own."""
    root = show(opening, kind).root
    found = elements.elements(root).values()
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


@pytest.mark.parametrize(
    ("pasted", "said"),
    [
        ("", "Enter the password."),
        ("x" * 3000, "too long"),
        ("it\N{RIGHT SINGLE QUOTATION MARK}s-Passw0rd", "Character 3 "),
        ("Pass\tw0rd", "Character 5 "),
        ("\N{ZERO WIDTH SPACE}", "Enter the password."),
    ],
)
def test_what_can_be_no_password_is_said(form: Shown, pasted: str, said: str) -> None:
    """The window stays, says what is wrong without quoting it, and sends nothing."""
    form.submit(pasted)
    form.says(said)
    form.entry().delete(0, "end")
    form.submit("\tPassw0rd\r\n")
    assert form.received() == msg.Submit("gw.example.com", "tanaka", "\tPassw0rd\r\n")


def test_a_blank_at_the_end_gets_a_hint(form: Shown) -> None:
    """A password that begins or ends with a blank gets a hint while the user types it."""
    hint = "The password begins or ends with a blank."
    form.entry().insert("end", "Passw0rd ")
    assert hint in form.texts()
    form.entry().delete(8, "end")
    assert hint not in form.texts()


@pytest.mark.parametrize(
    ("field", "typed", "said"),
    [("server", "x" * 3000, "This text is too long."), ("user", "", "Enter the user name.")],
)
def test_first_set_up(show: Callable[..., Shown], field: str, typed: str, said: str) -> None:
    """What cannot be an account is reported at its field, and the window stays."""
    form = show(replace(OPENING, first=True), password.View)
    form.entry(field).delete(0, "end")
    form.entry(field).insert("end", typed)
    form.submit("x")
    form.says(said)
    assert not form.gone()


def test_while_it_checks_nothing_can_be_changed(form: Shown) -> None:
    """Enter twice is one login, and the fields cannot be changed."""
    form.submit("New-Pass1")
    form.window.on_enter()
    assert form.received() == msg.Submit("gw.example.com", "tanaka", "New-Pass1")
    assert form.entry().instate(["disabled"])
    form.says("Checking with the server…")


@pytest.mark.parametrize("field", ["password", "server"])
def test_refusal_is_said_at_the_password(form: Shown, field: Literal["password", "server"]) -> None:
    """The refused text is selected; an update shows the server's refusal at its only field."""
    form.submit("wrong")
    form.send(msg.Refused("It is wrong. Nothing was changed.", field))
    form.says("It is wrong. Nothing was changed.")
    assert form.entry().selection_present()
    assert not form.entry().instate(["disabled"])
    assert "Checking with the server…" not in form.texts()


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


def test_success_is_confirmed_and_the_password_forgotten(form: Shown) -> None:
    """After success the window has no password any more."""
    form.submit("New-Pass1")
    form.send(msg.Accepted())
    form.says("The stored password has been updated")
    assert form.content._values["password"].get() == ""
    form.window.on_enter()
    assert form.gone()


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
    form.content._ask_code()
    form.says("Getting a code…")
    assert form.received() == msg.AskCode("gw.example.com")
    form.send(SHOWN)
    form.says("BCDF-2345")
    said = " ".join(form.texts())
    for text in ("apple", "https://console.example.com/", "the user tanaka", "10 more minutes"):
        assert text in said
    clock = monotonic()
    monkeypatch.setattr(code, "monotonic", lambda: clock + 541)
    form.says("valid for 1 more minute.")
    form.send(msg.Question("tanaka"))
    form.says("Connect this PC as the user tanaka?")
    assert "BCDF-2345" not in form.texts()


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
    form.content._ask_code()
    form.received()
    form.send(SHOWN)
    form.says("BCDF-2345")
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
    form.content._ask_code()
    form.received()
    form.send(SHOWN)
    form.says("BCDF-2345")
    form.send(msg.Question("tanaka"))
    form.says("Connect this PC")
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
