"""The dialogs on a real X display: as processes with real keys, and as windows in this process."""

from __future__ import annotations

import gc
import os
import threading
import tkinter
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import UTC, datetime
from gettext import NullTranslations
from pathlib import Path

import pytest
from msgspec.structs import replace

from agent.core.failure import Reason
from agent.core.state import State
from agent.core.view import Command, View
from agent.dialogs import messages as msg
from agent.dialogs import password, status
from agent.dialogs.host import ProcessDialogs
from agent.dialogs.pipe import Pipe
from agent.dialogs.window import Window
from agent.settings import Settings
from tests.support.places import ROOT
from tests.support.polling import eventually
from tests.support.x11 import screen, xdotool

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

    def __init__(self, settings: Settings = SUGGESTED) -> None:
        self.view = OLD
        self.submitted: list[tuple[str, str, str]] = []
        self.answers: dict[str, Reason | None] = {}
        self.picked: list[Command] = []
        self.unanswered: list[Future[Reason | None]] = []
        self.dialogs = ProcessDialogs(
            log_in=self.log_in,
            view=lambda: self.view,
            on_command=self.picked.append,
            assets=ASSETS,
            translations=ENGLISH,
            settings=settings,
        )

    def log_in(self, server: str, user: str, password: str) -> Future[Reason | None]:
        self.submitted.append((server, user, password))
        future: Future[Reason | None] = Future()
        if password in self.answers:
            future.set_result(self.answers[password])
        else:
            self.unanswered.append(future)
        return future


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
    found = os.popen("xdotool search --onlyvisible --class coconowork-client 2>/dev/null")  # noqa: S605 - fixed text
    with found:
        return found.read().split()


def ready(title: str) -> None:
    """Wait until the dialog of that title is there and has the keyboard."""

    def has_the_keyboard() -> bool:
        try:
            return title in xdotool("getwindowfocus", "getwindowname")
        except OSError:
            return False
        except Exception:  # noqa: BLE001 - xdotool fails while nothing has the focus
            return False

    eventually(has_the_keyboard)


def press(*keys: str) -> None:
    xdotool("key", "--delay", "30", *keys)


def write(text: str) -> None:
    xdotool("type", "--delay", "20", text)


def test_right_password_is_confirmed(client: Client) -> None:
    """A password can be typed, sent and confirmed by keyboard alone."""
    client.answers["New-Pass1"] = None
    client.dialogs.ask_password()
    ready("Update the stored password")
    write("New-Pass1")
    press("Return")
    eventually(lambda: client.submitted == [(SERVER, "tanaka", "New-Pass1")])

    def closed_by_enter() -> bool:
        press("Return")
        return not windows()

    eventually(closed_by_enter)
    assert len(client.submitted) == 1


def test_secret_is_in_no_argument_or_environment(client: Client) -> None:
    """The password is not where other programs can read it."""
    client.dialogs.ask_password()
    ready("Update the stored password")
    write("New-Pass1")
    press("Return")
    eventually(lambda: client.submitted)
    shown = client.dialogs._open
    assert shown is not None
    proc = Path("/proc") / str(shown._process.pid)
    seen = (proc / "cmdline").read_bytes() + (proc / "environ").read_bytes()
    assert b"New-Pass1" not in seen
    assert b"dialog" in seen


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
    answer = client.dialogs._answer(typed)
    assert isinstance(answer, msg.Refused)
    assert answer.field == field
    assert answer.text
    assert client.submitted == []


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_said(client: Client, reason: Reason) -> None:
    """Each reason says that nothing was changed, and none that the client keeps trying."""
    client.answers["x"] = reason
    answer = client.dialogs._answer(msg.Submit("", "", "x"))
    assert isinstance(answer, msg.Refused)
    assert "Nothing was changed." in answer.text
    assert "keeps trying" not in answer.text
    assert "again later" not in answer.text


def test_impostor_is_told_with_what_to_do(client: Client) -> None:
    """A wrong server is reported with the warning to type no password."""
    client.answers["x"] = Reason.IMPOSTOR
    answer = client.dialogs._answer(msg.Submit("", "", "x"))
    assert isinstance(answer, msg.Refused)
    assert "Do not enter your password anywhere." in answer.text


def test_update_is_for_the_stored_account(client: Client) -> None:
    """Server and user of a dialog are ignored when it updates the password."""
    client.answers["x"] = None
    client.dialogs._answer(msg.Submit("evil.example.com", "other", "x"))
    assert client.submitted == [(SERVER, "tanaka", "x")]


def test_unknown_command_is_ignored(client: Client) -> None:
    """A dialog can start no command that the client does not know."""
    assert client.dialogs._answer(msg.Picked("format_disk")) is None
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
        self.content = kind(self.window, told)
        self.root = self.window.root
        self.root.deiconify()
        self.window.poll()
        self.turn_until(self.root.winfo_viewable)

    def send(self, message: msg.FromClient) -> None:
        os.write(self._to_dialog, msg.encode(message))

    def received(self) -> msg.FromDialog:
        return msg.decode_from_dialog(os.read(self._from_dialog, 65536))

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

    def close(self) -> None:
        if not self.gone():
            self.window.close()
        os.close(self._to_dialog)
        self._reader_has_ended()
        os.close(self._from_dialog)
        for file in self._files:
            file.close()
        # Tcl aborts when another thread's garbage collection finds its objects.
        for name in ("root", "content", "window", "_pipe"):
            delattr(self, name)
        gc.collect()

    def _reader_has_ended(self) -> None:
        eventually(lambda: "pipe" not in {thread.name for thread in threading.enumerate()})

    def gone(self) -> bool:
        try:
            return not self.root.winfo_exists()
        except tkinter.TclError:
            return True


def opening(*, first: bool = False) -> msg.Open:
    return msg.Open(assets=str(ASSETS), server="gw.example.com", user="tanaka", first=first)


@pytest.fixture
def form() -> Iterator[Shown]:
    made = Shown(opening(), password.View)
    yield made
    made.close()


def entry(form: Shown, name: str) -> tkinter.Entry:
    assert isinstance(form.content, password.View)
    return form.content._entries[name]


def submit(form: Shown, text: str) -> None:
    entry(form, "password").insert("end", text)
    form.window.on_enter()
    form.root.update()


def test_password_is_hidden_until_it_is_asked_for(form: Shown) -> None:
    """A password is shown in dots, and in letters on request."""
    assert isinstance(form.content, password.View)
    field = entry(form, "password")
    assert field.cget("show") == password.HIDDEN
    form.content._visible.set(True)
    form.content._show_or_hide()
    assert field.cget("show") == ""


def test_no_program_can_read_a_selected_password(form: Shown) -> None:
    """A selected password is not X's selection, and is copied as dots."""
    assert isinstance(form.content, password.View)
    field = entry(form, "password")
    field.insert("end", "hidden-w0rd")
    for visible in (True, False):
        form.content._visible.set(visible)
        form.content._show_or_hide()
        field.selection_range(0, "end")
        form.root.update()
        with pytest.raises(tkinter.TclError):
            form.root.tk.call("selection", "get")
    form.root.clipboard_clear()
    field.event_generate("<<Copy>>")
    form.root.update()
    assert form.root.clipboard_get() == password.HIDDEN * len("hidden-w0rd")


def test_empty_password_is_not_sent(form: Shown) -> None:
    """An empty password is reported at its field and not sent."""
    submit(form, "")
    assert "Enter the password." in form.texts()
    form.send(msg.Accepted())  # wakes the reader: nothing was sent before
    form.turn_until(lambda: "The stored password has been updated" in form.texts())


@pytest.mark.parametrize(
    ("pasted", "said"),
    [
        ("x" * 3000, "too long"),
        ("it\N{RIGHT SINGLE QUOTATION MARK}s-Passw0rd", "Character 3 "),
        ("Pass\tw0rd", "Character 5 "),
        ("\N{ZERO WIDTH SPACE}", "Enter the password."),
    ],
)
def test_what_can_be_no_password_is_said(form: Shown, pasted: str, said: str) -> None:
    """The window stays, says what is wrong without quoting it, and sends nothing."""
    submit(form, pasted)
    assert said in " ".join(form.texts())
    assert not form.gone()
    entry(form, "password").delete(0, "end")
    submit(form, "\tPassw0rd\r\n")
    assert form.received() == msg.Submit("gw.example.com", "tanaka", "\tPassw0rd\r\n")


def test_a_blank_at_the_end_gets_a_hint(form: Shown) -> None:
    """A password that begins or ends with a blank gets a hint while the user types it."""
    hint = "The password begins or ends with a blank."
    entry(form, "password").insert("end", "Passw0rd ")
    assert hint in form.texts()
    entry(form, "password").delete(8, "end")
    assert hint not in form.texts()


def test_a_server_that_is_too_long_is_said() -> None:
    """A field takes any paste, and the window stays."""
    form = Shown(opening(first=True), password.View)
    try:
        entry(form, "server").insert("end", "x" * 3000)
        submit(form, "x")
        assert "This text is too long." in form.texts()
        assert not form.gone()
    finally:
        form.close()


def test_while_it_checks_nothing_can_be_changed(form: Shown) -> None:
    """Enter twice is one login, and the fields cannot be changed."""
    submit(form, "New-Pass1")
    form.window.on_enter()
    assert form.received() == msg.Submit("gw.example.com", "tanaka", "New-Pass1")
    assert entry(form, "password").instate(["disabled"])  # type: ignore[attr-defined]  # ttk's
    assert "Checking with the server…" in form.texts()


def test_refusal_is_said_at_the_field_and_the_text_is_selected(form: Shown) -> None:
    """The refused text is selected, so that typing replaces it."""
    submit(form, "wrong")
    form.send(msg.Refused("The user name or the password is wrong. Nothing was changed."))
    text = "The user name or the password is wrong. Nothing was changed."
    form.turn_until(lambda: text in form.texts())
    field = entry(form, "password")
    assert field.selection_present()
    assert not field.instate(["disabled"])  # type: ignore[attr-defined]  # ttk's
    assert "Checking with the server…" not in form.texts()


def test_success_is_confirmed_and_the_password_forgotten(form: Shown) -> None:
    """After success the window has no password any more."""
    assert isinstance(form.content, password.View)
    submit(form, "New-Pass1")
    form.send(msg.Accepted())
    form.turn_until(lambda: "The stored password has been updated" in form.texts())
    assert form.content._values["password"].get() == ""
    form.window.on_enter()
    assert form.gone()


def test_refusal_of_a_field_that_is_not_there_is_said_at_the_password(form: Shown) -> None:
    """A text about the server is shown at the password, the only field of an update."""
    submit(form, "x")
    form.send(msg.Refused("The server cannot be reached.", "server"))
    form.turn_until(lambda: "The server cannot be reached." in form.texts())


def test_first_set_up_says_what_is_missing() -> None:
    """An empty user name is reported at its field."""
    form = Shown(opening(first=True), password.View)
    try:
        entry(form, "user").delete(0, "end")
        submit(form, "x")
        assert "Enter the user name." in form.texts()
    finally:
        form.close()


def test_status_follows_the_client() -> None:
    """The status window shows each new state."""
    first = msg.Snapshot(picture="busy", headline="Connecting…", can_reconnect=True)
    shown = Shown(msg.Open(assets=str(ASSETS), snapshot=first), status.View)
    try:
        assert "Connecting…" in shown.texts()
        shown.send(msg.Update(msg.Snapshot(picture="standby", headline="Waiting", lines=["a b"])))
        shown.turn_until(lambda: {"Waiting", "a b"} <= set(shown.texts()))
        assert "Connecting…" not in shown.texts()
    finally:
        shown.close()


def test_garbage_from_the_client_ends_the_window(form: Shown) -> None:
    """A message that cannot be decoded closes the window."""
    os.write(form._to_dialog, b"garbage\n")
    form.turn_until(form.gone)


def test_what_policy_sets_is_grey_and_wins() -> None:
    """Server and user by policy are shown, cannot be typed over, and are what is submitted."""
    settings = Settings(server=SERVER, user="tanaka", enforced=frozenset({"server", "user"}))
    grey = replace(opening(first=True), fixed=["server", "user"])
    made = Shown(grey, password.View)
    submit(made, "New-Pass1")
    made.send(msg.Refused("no"))
    made.turn_until(lambda: not made.content._busy)  # type: ignore[union-attr] # it is a form
    for name in ("server", "user"):
        assert entry(made, name).instate(["disabled"])  # type: ignore[attr-defined] # it is ttk's
    made.close()
    client = Client(settings)
    client.view = LOGGED_OUT
    client.answers["New-Pass1"] = None
    client.dialogs._submit(msg.Submit("evil.example.com", "eve", "New-Pass1"))
    assert client.submitted == [(SERVER, "tanaka", "New-Pass1")]
