"""The dialogs as processes on a real X display, with real keys, and the client's answers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.core.failure import Failure, Reason
from agent.core.view import Command
from agent.dialogs import messages as msg
from agent.dialogs.pairing import CodeAttempts
from agent.dialogs.pipe import MAX_WAITING, Pipe
from agent.pairing import PairingFailed
from tests.support.dialogs import (
    CODE,
    ENFORCED,
    ENGLISH,
    LOGGED_OUT,
    OLD,
    SERVER,
    SUGGESTED,
    Client,
)
from tests.support.polling import eventually
from tests.support.x11 import press, ready, xdotool

pytestmark = [pytest.mark.display, pytest.mark.usefixtures("display")]


@pytest.fixture
def client() -> Iterator[Client]:
    """Yield a client; at its end all its windows must close."""
    made = Client()
    yield made
    shown = made.dialogs._open
    made.dialogs.close()
    for future in made.unanswered:
        future.cancel()
    if shown is not None:
        assert shown._process.returncode == 0
        eventually(lambda: not windows())


def windows() -> list[str]:
    """Return the ids of the dialogs on the screen."""
    command = ["xdotool", "search", "--onlyvisible", "--class", "coconowork-client"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()


def write(text: str) -> None:
    xdotool("type", "--delay", "20", text)


def test_right_password_is_confirmed(client: Client) -> None:
    """A password is typed, sent and confirmed by keyboard alone; no other program reads it."""
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
    """A status window does not replace the window in which a password is typed.

    A window takes the focus only when the user has asked for it.
    """
    client.dialogs.show_status(quietly=True)
    (window,) = eventually(windows)
    assert xdotool("getwindowfocus").strip() != window
    client.dialogs.show_status()
    ready("coconowork client")
    client.dialogs.ask_password()
    ready("Update the stored password")
    write("typed")
    client.dialogs.show_status(quietly=True)
    client.dialogs.show_status()
    client.dialogs.ask_password()
    press("Return")
    eventually(lambda: client.submitted == [(SERVER, "tanaka", "typed")])
    assert len(windows()) == 1


def test_window_that_reads_nothing_is_killed(caplog: pytest.LogCaptureFixture) -> None:
    """A window that reads nothing is killed; its queue is bounded, and gets no more after it."""
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
    """A busy window leaves messages in the pipe; an invalid message ends the window."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as ours, os.fdopen(writing, "wb", buffering=0) as theirs:
        theirs.write(msg.encode(msg.Open()))
        pipe = Pipe(ours, theirs)
        assert pipe.opening() is not None
        for _ in range(2 * MAX_WAITING):
            theirs.write(msg.encode(msg.Front()))
        eventually(pipe._arrived.full)
        pipe.send(msg.DropCode())  # no client sends this
        taken: list[msg.FromClient | None] = []

        def all_taken() -> bool:
            taken.extend(pipe.arrived())
            return None in taken

        eventually(all_taken)
        assert taken == [msg.Front()] * (2 * MAX_WAITING) + [None]


# --- what the client answers


def test_what_cannot_be_right_is_said_at_its_field(client: Client) -> None:
    """Each impossible entry is refused at its field, and nothing is sent."""
    client.view = LOGGED_OUT
    for server, user, field in (
        ("ws://gw.example.com", "tanaka", "server"),
        ("", "tanaka", "server"),
        ("gw.example.com", "", "user"),
        ("gw.example.com", "a" * 300, "user"),
    ):
        answer = client.answer(msg.Submit(server, user, "x"))
        assert isinstance(answer, msg.Refused)
        assert answer.field == field
        assert answer.text
    assert client.submitted == []


def test_every_reason_is_said(client: Client) -> None:
    """The text of each reason says that nothing changed, and not that the client retries.

    A wrong server is reported with the warning to type no password.
    """
    for reason in Reason:
        client.answers["x"] = reason
        answer = client.answer(msg.Submit("", "", "x"))
        assert isinstance(answer, msg.Refused)
        assert "Nothing was changed." in answer.text
        assert "keeps trying" not in answer.text
        assert "again later" not in answer.text
        warning = "Do not enter your password anywhere."
        assert (warning in answer.text) == (reason is Reason.IMPOSTOR)


def test_what_a_dialog_can_choose() -> None:
    """Server and user that a dialog sends are ignored where the user may not choose them."""
    for view, settings, first, chosen in (
        (OLD, SUGGESTED, False, False),  # the stored account is updated
        (LOGGED_OUT, ENFORCED, True, False),  # policy names both
        (OLD, ENFORCED, True, False),  # the same, logged in
        (OLD, SUGGESTED, True, True),  # another account is chosen
    ):
        client = Client(settings)
        client.view, client.answers["x"] = view, None
        client.answer(msg.Submit("other.example.com", "eve", "x"), first=first)
        other = ("wss://other.example.com/gateway", "eve", "x")
        assert client.submitted == [other if chosen else (SERVER, "tanaka", "x")]


def test_another_account(client: Client) -> None:
    """The log-in window has the fields of the account in use, each with a letter for Alt."""
    client.dialogs.ask_password(change_account=True)
    ready("Log in to coconowork")
    press("alt+u", "ctrl+a")  # from the password, which is empty, to the user
    write("suzuki")
    press("alt+p")
    write("New-Pass1")
    press("alt+l")
    eventually(lambda: client.submitted == [(SERVER, "suzuki", "New-Pass1")])


def test_a_closed_window_has_no_code(client: Client) -> None:
    """A closed window's code ends, and later reports of the code are dropped."""
    client.view = LOGGED_OUT
    client.dialogs.ask_password()
    ready("Log in to coconowork")
    press("Tab", "Tab", "Tab", "space")  # from the user's name: password, its switch, the code
    (pairing,) = eventually(lambda: client.pairings)
    assert pairing.server == SERVER
    pairing.show(CODE)
    ready("Log in by a code")
    press("Escape")
    eventually(pairing.done.cancelled)
    pairing.show(CODE)
    pairing.ask("tanaka")
    assert client.submitted == []


def attempts(client: Client) -> tuple[CodeAttempts, list[msg.FromClient]]:
    """Return the `CodeAttempts` of one window, and the list that gets its messages."""
    told: list[msg.FromClient] = []
    codes = CodeAttempts(client.pair, lambda reason, _: msg.Refused(reason.value), ENGLISH)
    codes.send = told.append
    codes.begin("a")
    return codes, told


def test_a_window_is_told_of_its_newest_code_only(client: Client) -> None:
    """Reports of an earlier code, or after the code's end, are dropped."""
    codes, told = attempts(client)
    codes.begin("b")
    old, new = client.pairings
    assert old.done.cancelled()
    old.show(CODE)
    assert not old.ask("tanaka").done()
    assert told == []
    new.show(CODE)
    codes.end()
    new.show(CODE)
    assert new.done.cancelled()
    assert told == [msg.ShowCode("BCDF-2345", [each.en for each in CODE.words], 600)]


def test_an_agreed_code_logs_in(client: Client) -> None:
    """The login waits for the consent of the person at the PC, which counts once."""
    codes, told = attempts(client)
    (pairing,) = client.pairings
    agreed = pairing.ask("tanaka")
    assert not agreed.done()
    codes.confirm()
    assert agreed.done()
    pairing.done.set_result(None)
    codes.confirm()
    assert told == [msg.Question("tanaka"), msg.Accepted()]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PairingFailed(Failure(Reason.NO_CODES)), "does not offer codes"),
        (PairingFailed(Failure(Reason.THROTTLED, 90)), "Try again in 2 minutes."),
        (None, "The code has expired."),
        (Reason.CREDENTIALS, "credentials"),
        (OSError("secret"), "The program has a defect."),
    ],
)
def test_why_a_code_has_ended(client: Client, error: Exception | Reason | None, said: str) -> None:
    """The window says why a code has ended; a sleep of the PC ends the code."""
    _, told = attempts(client)
    (pairing,) = client.pairings
    if isinstance(error, Exception):
        pairing.done.set_exception(error)
    elif error is not None:
        pairing.done.set_result(error)
    else:
        pairing.done.cancel()
    (ended,) = told
    assert isinstance(ended, msg.CodeEnded)
    assert said in ended.text
    assert "secret" not in ended.text


def test_which_server_a_code_is_from() -> None:
    """A code is from the typed server, or from policy's; only a log-in window may ask."""
    for settings, chosen in ((SUGGESTED, "wss://other.example.com/gateway"), (ENFORCED, SERVER)):
        client = Client(settings)
        client.answer(msg.AskCode("other.example.com"), first=True)
        client.answer(msg.AskCode("gw.example.com"))
        assert [each.server for each in client.pairings] == [chosen]
        answer = client.answer(msg.AskCode("ws://gw.example.com"), first=True)
        assert isinstance(answer, msg.Refused)
        assert answer.field == "server"


def test_unknown_command_is_ignored(client: Client) -> None:
    """A dialog can neither start an unknown command nor agree to a code that does not exist."""
    log_out, unknown = msg.Picked("log_out_now"), msg.Picked("format_disk")
    for message in (log_out, unknown, msg.Confirm(), msg.DropCode()):
        assert client.answer(message) is None
    assert client.picked == [Command.LOG_OUT_NOW]
    assert "s3cret" not in repr(msg.Submit("a", "b", "s3cret"))
