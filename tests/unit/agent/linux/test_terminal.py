"""Tray and notifications in a terminal."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import signal
import subprocess
import sys
import threading
from gettext import NullTranslations
from traceback import walk_stack

from agent.core.failure import Reason
from agent.core.state import State
from agent.core.view import Command, View
from agent.linux.terminal import TerminalToaster, TerminalTray
from agent.logs import Console
from agent.ports import Topic
from agent.threads import DaemonThreads
from protocol.messages import WarningOutcome
from tests.support.polling import eventually


def test_writes_one_line_for_each_change() -> None:
    """The terminal shows each change that the icon would show, once."""
    stream = io.StringIO()
    tray = TerminalTray(Console(stream), NullTranslations())
    tray.show(View(State.STANDBY_OLD_PASSWORD, days_left=30))
    tray.show(View(State.STANDBY_OLD_PASSWORD, days_left=30, autostart=True))
    tray.show(View(State.RETRYING, reason=Reason.CERTIFICATE))
    assert stream.getvalue().splitlines() == [
        "Waiting for connections (old password) — The old password ends in 30 days",
        "Not connected — The server's certificate is not trusted.",
    ]


def test_a_notification_is_seen_when_its_line_was_written() -> None:
    """A notification is shown once its line is written; on a paused terminal it has failed."""
    outcomes: list[WarningOutcome] = []
    notification = Topic.WARNING, "The password ends", "in 3 days"
    reading, writing = os.pipe()
    os.write(writing, bytes(fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ)))
    with os.fdopen(reading), os.fdopen(writing, "w") as paused:
        for stream in (shown := io.StringIO(), None, paused):
            TerminalToaster(Console(stream)).show(*notification, outcomes.append)
    assert shown.getvalue() == "[The password ends] in 3 days\n"
    assert outcomes == [WarningOutcome.SHOWN, WarningOutcome.FAILED, WarningOutcome.FAILED]


def test_a_terminal_that_nobody_reads_stops_nothing() -> None:
    """A terminal that takes only part of a line blocks nothing, and gets more once it reads."""
    reading, writing = pty.openpty()
    with os.fdopen(writing, "w") as frozen, os.fdopen(reading, "rb", buffering=0) as emulator:
        console = Console(frozen)
        work = DaemonThreads().submit(lambda: [console.write("x" * 1000) for _ in range(200)])
        written = work.result(20)
        assert (written[0], written[-1]) == (True, False)
        eventually(lambda: bool(emulator.read(65536)) and console.write("again"))


def test_ctrl_c_is_quit() -> None:
    """Ctrl+C picks Quit; the loop runs on until the client has left the server and stops it."""
    tray = TerminalTray(Console(io.StringIO()), NullTranslations())
    picked: list[Command] = []
    main = threading.get_ident()

    def waits() -> bool:
        stack = [frame.f_code for frame, _ in walk_stack(sys._current_frames()[main])]
        return stack[0].co_name == "wait" and TerminalTray.run.__code__ in stack

    def press_ctrl_c() -> None:
        eventually(waits)
        os.kill(os.getpid(), signal.SIGINT)

    def on_command(command: Command) -> None:
        picked.append(command)
        threading.Timer(0, tray.stop).start()

    # A shell that runs the tests in the background makes them ignore SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Timer(0, press_ctrl_c).start()
    tray.run(on_command)
    tray.run(on_command)  # returns: `stop` was called before
    assert picked == [Command.QUIT]


def test_a_closed_terminal_ends_nothing() -> None:
    """When the output's reader ends (`| head -1`), the tray goes on and ends without an error."""
    code = """
import gettext, sys
from agent.core.state import State
from agent.core.view import View
from agent.linux.terminal import TerminalTray
from agent.logs import Console
tray = TerminalTray(Console(sys.stdout), gettext.NullTranslations())
tray.show(View(State.CONNECTING))
sys.stdin.readline()
for state in (State.STANDBY, State.RETRYING):
    tray.show(View(state))
print("end", file=sys.stderr)
"""
    reading, writing = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=writing,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(writing)
        with os.fdopen(reading) as stream:
            assert stream.readline() == "Connecting…\n"
        _, said = process.communicate(timeout=30)
    assert (said, process.returncode) == (b"end\n", 0)
