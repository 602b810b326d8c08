"""Tray and notifications in a terminal."""

from __future__ import annotations

import gettext
import io
import os
import signal
import subprocess
import sys
import threading

from agent.core.failure import Reason
from agent.core.state import State
from agent.core.view import Command, View
from agent.linux.terminal import Terminal, TerminalToaster, TerminalTray
from agent.ports import Notification, Topic
from protocol.messages import WarningOutcome


def test_writes_one_line_for_each_change() -> None:
    """The terminal shows each change that the icon would show, once."""
    stream = io.StringIO()
    tray = TerminalTray(Terminal(stream), gettext.NullTranslations())
    tray.show(View(State.CONNECTING))
    tray.show(View(State.STANDBY_OLD_PASSWORD, days_left=30))
    tray.show(View(State.STANDBY_OLD_PASSWORD, days_left=30, autostart=True))
    tray.show(View(State.RETRYING, reason=Reason.CERTIFICATE))
    assert stream.getvalue().splitlines() == [
        "Connecting…",
        "Waiting for connections (old password) — The old password ends in 30 days",
        "Not connected — The server's certificate is not trusted.",
    ]


def test_runs_until_it_is_stopped() -> None:
    """`stop` works from any thread, before or during `run`."""
    tray = TerminalTray(Terminal(io.StringIO()), gettext.NullTranslations())
    threading.Timer(0.05, tray.stop).start()
    tray.run(lambda _: None)
    tray.run(lambda _: None)


def test_a_notification_is_seen_when_its_line_was_written() -> None:
    """A notification counts as shown only when the terminal took it."""
    outcomes: list[WarningOutcome] = []
    notification = Notification(Topic.WARNING, "The password ends", "in 3 days")
    stream = io.StringIO()
    TerminalToaster(Terminal(stream)).show(notification, on_outcome=outcomes.append)
    TerminalToaster(Terminal(None)).show(notification, on_outcome=outcomes.append)
    assert stream.getvalue() == "[The password ends] in 3 days\n"
    assert outcomes == [WarningOutcome.SHOWN, WarningOutcome.FAILED]


def test_ctrl_c_is_quit() -> None:
    """The client takes leave of the server first, so the loop goes on until it is stopped."""
    tray = TerminalTray(Terminal(io.StringIO()), gettext.NullTranslations())
    picked: list[Command] = []

    def on_command(command: Command) -> None:
        picked.append(command)
        tray.stop()

    # A shell that starts the tests in the background lets them ignore SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    tray.run(on_command)
    assert picked == [Command.QUIT]


def test_a_closed_terminal_ends_nothing() -> None:
    """`| head -1` takes the pipe away: the tray goes on, and the program ends without an error."""
    code = """
import gettext, sys, time
from agent.core.state import State
from agent.core.view import View
from agent.linux.terminal import Terminal, TerminalTray
tray = TerminalTray(Terminal(sys.stdout), gettext.NullTranslations())
tray.show(View(State.CONNECTING))
sys.stdin.readline()
for state in (State.STANDBY, State.RETRYING):
    tray.show(View(state))
tray.stop()
tray.run(lambda _: None)
print("end", file=sys.stderr)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "Connecting…\n"
        process.stdout.close()
        process.stdin.close()
        first, *others = process.stderr.read().splitlines()
        assert first.startswith("the terminal is closed:")
        assert others == ["end"]
        assert process.wait(30) == 0
