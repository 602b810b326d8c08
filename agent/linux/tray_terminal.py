"""The tray of a terminal: one line of text for each change."""

from __future__ import annotations

import gettext
import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from agent.core.view import Command, View
from agent.tray_menu import summary

log = logging.getLogger(__name__)


class TerminalTray:
    """Write to `stream` and read nothing: commands come over the control channel.

    A stream that is closed, as by `| head -1`, is logged, and the tray goes on without it.
    """

    def __init__(self, stream: TextIO | None, translation: gettext.NullTranslations) -> None:
        self._stream = stream
        self._translation = translation
        self._lock = threading.Lock()
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
        """Write a line, unless it is the same as the last one."""
        self._write(" — ".join(summary(view, self._translation)))

    def translate(self, translation: gettext.NullTranslations) -> None:
        """Use another language from now on."""
        self._translation = translation

    def stop(self) -> None:
        self._stopped.set()

    def _write(self, line: str) -> None:
        with self._lock:
            if line == self._line or self._stream is None:
                return
            self._line = line
            try:
                print(line, file=self._stream, flush=True)
            except (OSError, ValueError) as exc:
                log.warning("the terminal is closed: %s", exc)
                _lead_nowhere(self._stream)
                self._stream = None


def _lead_nowhere(stream: TextIO) -> None:
    """Keep the interpreter from failing at its end, when it flushes a stream that is closed."""
    with suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), stream.fileno())
