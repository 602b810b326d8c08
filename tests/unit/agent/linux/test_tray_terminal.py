"""The tray without a display."""

from __future__ import annotations

import gettext
import io
import os
import signal
import threading

from agent.core.failure import Reason
from agent.core.state import State
from agent.core.view import Command, View
from agent.linux.tray_terminal import TerminalTray


def test_writes_one_line_for_each_change() -> None:
    """Who watches the terminal sees what the icon would show, once."""
    stream = io.StringIO()
    tray = TerminalTray(stream, gettext.NullTranslations())
    tray.show(View(State.CONNECTING))
    tray.show(View(State.STANDBY_OLD_PASSWORD, days_left=30))
    tray.show(View(State.STANDBY_OLD_PASSWORD, days_left=30, autostart=True))
    tray.show(View(State.RETRYING, reason=Reason.CERTIFICATE))
    tray.balloon("Title", "two\nlines")
    assert stream.getvalue().splitlines() == [
        "Connecting…",
        "Waiting for connections (old password) — The old password ends in 30 days",
        "Not connected — The server's certificate is not trusted.",
        "[Title] two lines",
    ]


def test_runs_until_it_is_stopped() -> None:
    """From any thread, before or during `run`."""
    tray = TerminalTray(io.StringIO(), gettext.NullTranslations())
    threading.Timer(0.05, tray.stop).start()
    tray.run(lambda _: None)
    tray.run(lambda _: None)


def test_ctrl_c_is_quit() -> None:
    """The client takes leave of the server first, so the loop goes on until it is stopped."""
    tray = TerminalTray(io.StringIO(), gettext.NullTranslations())
    picked: list[Command] = []

    def on_command(command: Command) -> None:
        picked.append(command)
        tray.stop()

    # Whoever starts the tests in the background has SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    tray.run(on_command)
    assert picked == [Command.QUIT]
