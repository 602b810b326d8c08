"""Write the log to standard error, with lines that repeat counted instead of written.

A line is written once a minute. Lines of one kind (one message of the code, with other values) are
written up to `MAX_ALIKE` times a minute. For the others, a line with their number follows when the
minute is over. So an attack is one screen of log, and its addresses can be read from it.
"""

from __future__ import annotations

import logging
from contextlib import nullcontext
from dataclasses import dataclass, field
from time import monotonic
from typing import TextIO

WINDOW_SECONDS = 60.0
MAX_ALIKE = 20
MAX_KINDS = 500
"""Kinds of lines that are counted at once. When there are more, all counts are written."""
QUIET = ("websockets", "uvicorn", "asyncio", "django")
"""Libraries whose debug lines hold what passes over the wire."""


@dataclass
class _Kind:
    """Lines of one kind within one window."""

    first: logging.LogRecord
    ends_at: float
    written: set[str] = field(default_factory=set)
    left_out: int = 0


class CountingHandler(logging.StreamHandler[TextIO]):
    """Write records, and count those that repeat."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self._kinds: dict[tuple[str, int, str], _Kind] = {}
        """By logger, level and text before its values are filled in; the oldest first."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record unless it repeats. `logging` holds the handler's lock."""
        now = monotonic()
        self._write_counts(until=now)
        if record.levelno <= logging.DEBUG:
            super().emit(record)
            return
        key = (record.name, record.levelno, str(record.msg))
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= MAX_KINDS:
                self._write_counts()
            kind = self._kinds[key] = _Kind(record, now + WINDOW_SECONDS)
        text = record.getMessage()[:500]
        if text in kind.written or len(kind.written) >= MAX_ALIKE:
            kind.left_out += 1
        else:
            kind.written.add(text)
            super().emit(record)

    def close(self) -> None:
        """Write the counts that are left."""
        with self.lock or nullcontext():
            self._write_counts()
        super().close()

    def _write_counts(self, until: float | None = None) -> None:
        """Write how many lines of each kind were left out, of windows that ended before `until`."""
        for key, kind in list(self._kinds.items()):
            if until is not None and kind.ends_at > until:
                break
            del self._kinds[key]
            if kind.left_out:
                first = kind.first
                counted = {
                    "name": first.name,
                    "levelno": first.levelno,
                    "levelname": first.levelname,
                    "msg": "%d more lines like this in a minute: %s",
                    "args": (kind.left_out, first.getMessage()[:500]),
                }
                super().emit(logging.makeLogRecord(counted))


def set_up(level: str) -> None:
    """Log to standard error from `level` on."""
    logging.basicConfig(
        level=level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        handlers=[CountingHandler()],
    )
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.INFO, logging.getLevelName(level.upper())))
    # Any stranger can send a wrong Host header, and Django logs a traceback for each.
    logging.getLogger("django.security.DisallowedHost").setLevel(logging.CRITICAL)
