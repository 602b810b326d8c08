"""Logging: a rotating file for this user only, and standard error when there is one.

Times are UTC. Libraries whose debug output shows what they send are kept at INFO: a frame or a
D-Bus message of ours holds passwords.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from datetime import UTC, datetime
from io import TextIOWrapper
from itertools import pairwise
from pathlib import Path

from agent.paths import make_private
from protocol.text import clean

MAX_BYTES = 1_000_000
BACKUPS = 5
MAX_LINE = 4_000

TALKATIVE = (
    "asyncio",
    "hpack",
    "httpcore",
    "jeepney",
    "keyring",
    "PIL",
    "python_socks",
    "secretstorage",
    "websockets",
)
"""Loggers that never go below INFO, whatever is set."""

log = logging.getLogger(__name__)


class Formatter(logging.Formatter):
    """`2026-12-23T04:05:06.789Z INFO agent.runtime text`; further lines are indented.

    So no text from elsewhere can pass for a record of its own.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatTime(self, record: logging.LogRecord, _: str | None = None) -> str:  # noqa: N802
        time = datetime.fromtimestamp(record.created, UTC)
        return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def format(self, record: logging.LogRecord) -> str:
        first, *others = super().format(record).split("\n")
        lines = [clean(first, MAX_LINE)]
        for line in others:
            margin = line[: len(line) - len(line.lstrip(" "))]
            lines.append(f"    {margin}{clean(line, MAX_LINE)}")
        return "\n".join(lines)


class PrivateFileHandler(logging.FileHandler):
    """For this user only, in files of at most MAX_BYTES; does without when it cannot write.

    A file that is closed is opened again for the next record. logging's RotatingFileHandler is in
    a module with pickle and sockets, half a megabyte of memory all day.
    """

    def emit(self, record: logging.LogRecord) -> None:
        try:
            size = self.stream.seek(0, os.SEEK_END) if self.stream else 0
            if size and size + len(self.format(record).encode(errors="replace")) >= MAX_BYTES:
                self._rotate()
            super().emit(record)
        except (OSError, ValueError):
            self.handleError(record)

    def _open(self) -> TextIOWrapper:
        handle = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        return os.fdopen(handle, "a", encoding=self.encoding, errors="backslashreplace")

    def _rotate(self) -> None:
        """`client.log` becomes `client.log.1` and so on; the oldest goes."""
        self.close()
        names = [self.baseFilename, *(f"{self.baseFilename}.{n}" for n in range(1, BACKUPS + 1))]
        # On Windows a file that somebody looks at cannot be renamed: go on in the same one.
        with suppress(OSError):
            for older, newer in reversed(list(pairwise(names))):
                if os.path.exists(older):  # noqa: PTH110 - names, as logging has them
                    os.replace(older, newer)  # noqa: PTH105

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """Nothing: a log that cannot be written is no reason to end, or to write elsewhere."""


def set_up(log_file: Path, level: str = "info", *, to_stderr: bool = True) -> None:
    """Send all of this process's logging to `log_file` and standard error.

    A file that cannot be made is told on standard error and done without. May be called again.
    """
    root = logging.getLogger()
    tear_down()
    root.setLevel(level.upper())
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.INFO, root.level))
    if to_stderr and sys.stderr is not None:  # None in a windowed program
        _add(logging.StreamHandler(sys.stderr))
    try:
        make_private(log_file.parent)
        _add(PrivateFileHandler(log_file, encoding="utf-8"))
    except OSError as exc:
        log.warning("no log file at %s: %s", log_file, exc.strerror)


def tear_down() -> None:
    """Close what `set_up` opened."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler.formatter, Formatter):
            root.removeHandler(handler)
            with suppress(OSError):
                handler.close()


def _add(handler: logging.Handler) -> None:
    handler.setFormatter(Formatter())
    logging.getLogger().addHandler(handler)
