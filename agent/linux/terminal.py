"""Tray and notifications in a terminal: one line of text for each change."""

from __future__ import annotations

import gettext
import logging
import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from agent.core.view import Command, View
from agent.ports import Notification, Topic
from agent.tray_menu import summary
from protocol.messages import WarningOutcome

log = logging.getLogger(__name__)


class Terminal:
    """Write lines to `stream`; nothing where there is none, or once it is closed (`| head -1`)."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def write(self, line: str) -> bool:
        """Write a line, from any thread; return whether it was written."""
        with self._lock:
            if self._stream is None or not _takes_text(self._stream):
                return False
            try:
                print(line, file=self._stream, flush=True)
            except (OSError, ValueError) as exc:
                log.warning("the terminal is closed: %s", exc)
                _lead_nowhere(self._stream)
                self._stream = None
            return self._stream is not None


class TerminalTray:
    """Write the view, and read nothing: commands come over the control channel."""

    def __init__(self, terminal: Terminal, translation: gettext.NullTranslations) -> None:
        self._terminal = terminal
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
            self._terminal.write(line)

    def translate(self, translation: gettext.NullTranslations) -> None:
        self._translation = translation

    def stop(self) -> None:
        self._stopped.set()


class TerminalToaster:
    """Implement `agent.ports.Toaster`: a line that is written counts as seen."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def show(
        self, notification: Notification, *, on_outcome: Callable[[WarningOutcome], None]
    ) -> None:
        text = " ".join(notification.text.split())
        written = self._terminal.write(f"[{notification.title}] {text}")
        on_outcome(WarningOutcome.SHOWN if written else WarningOutcome.FAILED)

    def withdraw(self, topic: Topic) -> None:
        """Do nothing: a line stays."""

    def close(self) -> None:
        """Do nothing."""


def _takes_text(stream: TextIO) -> bool:
    """Return whether a write would return at once: not while the user has paused the terminal."""
    with suppress(OSError, ValueError):  # it is no file, or closed: the write finds that out
        return bool(select.select([], [stream], [], 0)[1])
    return True


def _lead_nowhere(stream: TextIO) -> None:
    """Keep the interpreter from failing at its end, when it flushes a stream that is closed."""
    with suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), stream.fileno())
