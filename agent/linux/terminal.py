"""The desktop of a client in a terminal: tray and notifications are lines of text."""

from __future__ import annotations

import gettext
import os
import sys

if sys.platform != "linux":
    raise ImportError("for Linux")

import threading
from collections.abc import Callable
from pathlib import Path

from agent.core.events import Event
from agent.core.view import Command, View
from agent.logs import Console
from agent.ports import OnOutcome, Topic
from agent.tray_menu import summary
from protocol.messages import WarningOutcome


class TerminalTray:
    """Write the view, and read nothing: commands come over the control channel."""

    def __init__(self, console: Console, translation: gettext.NullTranslations) -> None:
        self._console = console
        self._translation = translation
        self._line = ""
        self._stopped = threading.Event()

    def run(self, on_command: Callable[[Command], None]) -> None:
        """Block until `stop`; Ctrl-C is the command to quit."""
        while not self._stopped.is_set():
            try:
                self._stopped.wait()
            except KeyboardInterrupt:
                on_command(Command.QUIT)

    def show(self, view: View) -> None:
        line = " — ".join(summary(view, self._translation))
        if line != self._line:
            self._line = line
            self._console.write(line)

    def translate(self, translation: gettext.NullTranslations) -> None:
        self._translation = translation

    def stop(self) -> None:
        self._stopped.set()


class TerminalToaster:
    """Implement `agent.ports.Toaster`: a line that is written counts as seen."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, _topic: Topic, title: str, text: str, on_outcome: OnOutcome) -> None:
        written = self._console.write(f"[{title}] {' '.join(text.split())}")
        on_outcome(WarningOutcome.SHOWN if written else WarningOutcome.FAILED)

    def withdraw(self, topic: Topic) -> None:
        """Do nothing: a line stays."""

    def close(self) -> None:
        """Do nothing."""


class LinuxSession:
    """Implement `agent.ports.SignInWatcher` for development: the start is the only sign-in."""

    def session(self) -> str:
        """Return a name of this boot and session, the same after a restart of the program."""
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.environ.get('XDG_SESSION_ID') or os.getsid(0)}"[:256]

    def start(self, emit: Callable[[Event], None]) -> None:
        """Do nothing: unlocks and network changes are watched on Windows only."""

    def keep_awake(self, wanted: bool, /) -> None:  # noqa: FBT001 - the port's
        """Do nothing: only an office PC on Windows is kept awake."""

    def stop(self) -> None:
        """Do nothing."""
