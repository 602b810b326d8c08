"""The tray where there is no display: one line of text for each change."""

from __future__ import annotations

import gettext
import sys
import threading
from collections.abc import Callable
from typing import TextIO

from agent.core.view import Command, View
from agent.tray_menu import summary

_WAIT_S = 1.0 if sys.platform == "win32" else None


class TerminalTray:
    """Writes to `stream` and reads nothing: commands come over the control channel."""

    def __init__(self, stream: TextIO, translation: gettext.NullTranslations) -> None:
        self._stream = stream
        self._translation = translation
        self._lock = threading.Lock()
        self._line = ""
        self._stopped = threading.Event()

    def run(self, on_command: Callable[[Command], None]) -> None:
        """Block until `stop`; Ctrl-C is the command to quit."""
        while not self._stopped.is_set():
            try:
                # Ctrl-C does not end an endless wait on Windows.
                while not self._stopped.wait(_WAIT_S):
                    pass
            except KeyboardInterrupt:
                on_command(Command.QUIT)

    def show(self, view: View) -> None:
        """Write a line, unless it is the one that was written last."""
        self._write(" — ".join(summary(view, self._translation)))

    def balloon(self, title: str, text: str) -> None:
        """Write the notification."""
        self._write(f"[{title}] {' '.join(text.split())}")

    def translate(self, translation: gettext.NullTranslations) -> None:
        """Speak another language from now on."""
        self._translation = translation

    def stop(self) -> None:
        self._stopped.set()

    def _write(self, line: str) -> None:
        with self._lock:
            if line == self._line:
                return
            self._line = line
            print(line, file=self._stream, flush=True)
