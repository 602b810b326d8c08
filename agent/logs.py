"""Logging: a rotating file for this user only, and standard error when there is one.

Times are UTC. Libraries whose debug output shows what they send are kept at INFO: a frame or a
D-Bus message of ours holds passwords.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
import time
from contextlib import suppress
from enum import Enum
from io import TextIOWrapper
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from agent.files import insist
from agent.paths import make_private
from protocol.text import clean

MAX_BYTES = 1_000_000
BACKUPS = 5
MAX_LINE = 4_000
LINE_S = 0.5  # seconds that a terminal may take for a line before the caller goes on

TALKATIVE = ("asyncio", "jeepney", "keyring", "python_socks", "secretstorage", "websockets")
"""Loggers that are kept at INFO or above, whatever level is set."""

log = logging.getLogger(__name__)


class WindowsEvent(Enum):
    """The events for Windows' event log. A log record names its event by `extra=event.extra`."""

    PASSWORD_RECEIVED = 1
    PASSWORD_REFUSED = 2
    OLD_PASSWORD = 3
    DEFECT = 4

    @property
    def extra(self) -> dict[str, WindowsEvent]:
        return {"windows_event": self}


class Formatter(logging.Formatter):
    """Write `2026-12-23T04:05:06.789Z INFO agent.runtime text`; indent a record's further lines."""

    converter = staticmethod(time.gmtime)
    default_time_format, default_msec_format = "%Y-%m-%dT%H:%M:%S", "%s.%03dZ"

    def format(self, record: logging.LogRecord) -> str:
        first, *others = super().format(record).split("\n")
        lines = [clean(first, MAX_LINE)]
        for line in others:
            margin = line[: len(line) - len(line.lstrip(" "))]
            lines.append(f"    {margin}{clean(line, MAX_LINE)}")
        return "\n".join(lines)


class PrivateFileHandler(logging.FileHandler):
    """Write to files of MAX_BYTES each, readable by this user only.

    A record that cannot be written is lost, and nothing else happens. logging's own rotating
    handler is not used, because it loads sockets and pickle before the icon is shown.
    """

    def emit(self, record: logging.LogRecord) -> None:
        # A log that cannot be written is no reason to end, or to write elsewhere.
        with suppress(Exception):
            line = self.format(record) + "\n"
            if self.stream is None:
                self.stream = self._open()
            if self.stream.seek(0, os.SEEK_END) + len(line) > MAX_BYTES:
                self._roll_over()
            self.stream.write(line)
            self.stream.flush()

    def _open(self) -> TextIOWrapper:
        no_wait = getattr(os, "O_NONBLOCK", 0)  # do not wait for the reader of a pipe
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | no_wait
        handle = os.open(self.baseFilename, flags, 0o600)
        return os.fdopen(handle, "a", encoding=self.encoding, errors=self.errors)

    def _roll_over(self) -> None:
        """Rename the files, the oldest first. Copy a file that another program holds open."""
        if self.stream is not None:
            self.stream.close()
            self.stream = None
        names = [self.baseFilename, *(f"{self.baseFilename}.{n + 1}" for n in range(BACKUPS))]
        for older, newer in pairwise(reversed(names)):
            _move(newer, older)
        self.stream = self._open()


class Console:
    """Write lines to a stream. A line is lost when there is no stream, or the stream takes no line.

    A paused terminal takes no line, nor does a closed pipe (`| head -1`). A full pipe may take a
    part of a line: then a thread waits for the rest, and the caller goes on.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._writer = threading.Thread()

    def write(self, text: str) -> bool:
        """Write `text`, from any thread; return whether all its lines were written."""
        with self._lock:
            return all(self._write(line) for line in text.split("\n"))

    def _write(self, line: str) -> bool:
        import select

        if self._writer.is_alive() or self._stream is None:
            return False
        with suppress(OSError, ValueError):  # no file, or a closed one: the write finds that out
            if not select.select([], [self._stream], [], 0)[1]:
                return False
        work, stream = self._print, self._stream
        self._writer = threading.Thread(
            target=work, args=(line, stream), name="console", daemon=True
        )
        try:
            self._writer.start()
        except RuntimeError:  # there is no thread left
            return False
        self._writer.join(LINE_S)
        return not self._writer.is_alive() and self._stream is not None

    def _print(self, line: str, stream: TextIO) -> None:
        # Unbuffered: a thread that waits inside a buffered writer aborts the interpreter's end.
        raw = getattr(getattr(stream, "buffer", None), "raw", None)
        try:
            if raw is None:
                print(line, file=stream, flush=True)
                return
            data = f"{line}\n".encode(stream.encoding, "backslashreplace")
            while data:
                data = data[raw.write(data) or len(data) :]
        except (OSError, ValueError):
            # The interpreter flushes the stream at its own end, and would fail.
            with suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:  # noqa: PTH123
                os.dup2(nowhere.fileno(), stream.fileno())
            self._stream = None


class ConsoleHandler(logging.Handler):
    """Write to standard error."""

    def __init__(self) -> None:
        super().__init__()
        self._console = Console(sys.stderr)

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(Exception):  # the record cannot be formatted
            self._console.write(self.format(record))


def _move(source: str, target: str) -> None:
    """Rename `source`; when Windows refuses, copy and empty it, so that no log grows for ever."""
    try:
        insist(lambda: Path(source).replace(target))
    except FileNotFoundError:
        pass
    except OSError:
        with suppress(OSError):
            shutil.copy(source, target)
        with suppress(OSError):
            os.truncate(source, 0)


def set_up(log_file: Path, level: str = "info", *, to_stderr: bool = True) -> None:
    """Send all logging of this process, and uncaught exceptions, to `log_file` and standard error.

    A file that cannot be made is reported on standard error, and the process goes on without it.
    May be called again.
    """
    root = logging.getLogger()
    tear_down()
    root.setLevel(level.upper())
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.INFO, root.level))
    if to_stderr and sys.stderr is not None:  # None in a windowed program
        add(ConsoleHandler())
    try:
        make_private(log_file.parent)
        add(PrivateFileHandler(log_file, encoding="utf-8", errors="backslashreplace"))
    except OSError as exc:
        log.warning("no log file at %s: %s", log_file, exc.strerror)
    _hooks.append((sys.excepthook, threading.excepthook))
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


def tear_down() -> None:
    """Undo what `set_up` did."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler.formatter, Formatter):
            root.removeHandler(handler)
            with suppress(OSError):
                handler.close()
    while _hooks:
        sys.excepthook, threading.excepthook = _hooks.pop()


_hooks: list[tuple[Any, Any]] = []  # the hooks for uncaught exceptions that `set_up` has replaced


def _log_uncaught(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    log.critical("uncaught", exc_info=(kind, error, traceback))


def _log_uncaught_in_thread(what: threading.ExceptHookArgs) -> None:
    if what.exc_value is not None and what.exc_type is not SystemExit:
        name = what.thread.name if what.thread else "?"
        exc_info = (what.exc_type, what.exc_value, what.exc_traceback)
        log.critical("uncaught in thread %s", name, exc_info=exc_info)


def add(handler: logging.Handler) -> None:
    """Send all logging of this process to `handler` as well, until `tear_down`."""
    handler.setFormatter(Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.getLogger().addHandler(handler)
