"""Write the log to standard error, with lines that repeat counted instead of written.

A line is written once a minute. Lines of one kind (one message of the code, with other values) are
written up to `MAX_ALIKE` times a minute. For the others, a line with their number follows when the
minute is over. So an attack is one screen of log, and its addresses can be read from it.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import TextIO

WINDOW_SECONDS = 60.0
MAX_ALIKE = 20
MAX_KINDS = 500
"""Kinds of lines that are counted at once. When there are more, all counts are written."""
QUIET = ("websockets", "uvicorn", "asyncio", "django")
"""Libraries whose debug lines hold what passes over the wire."""


class _Kind:
    """Lines of one kind within one window."""

    def __init__(self, record: logging.LogRecord, ends_at: float) -> None:
        self.ends_at = ends_at
        self.first = record
        self.written: set[str] = set()
        self.left_out = 0


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
        self.acquire()
        try:
            self._write_counts()
        finally:
            self.release()
        super().close()

    def _write_counts(self, until: float | None = None) -> None:
        """Write how many lines of each kind were left out, of windows that ended before `until`."""
        for key, kind in list(self._kinds.items()):
            if until is not None and kind.ends_at > until:
                break
            del self._kinds[key]
            if kind.left_out:
                first = kind.first
                super().emit(
                    logging.LogRecord(
                        first.name,
                        first.levelno,
                        first.pathname,
                        first.lineno,
                        "%d more lines like this in a minute: %s",
                        (kind.left_out, first.getMessage()[:500]),
                        None,
                    )
                )


def set_up(level: str) -> None:
    """Log to standard error from `level` on."""
    handler = CountingHandler()
    logging.basicConfig(
        level=level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        handlers=[handler],
    )
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.INFO, logging.getLevelName(level.upper())))
    # Any stranger can send a wrong Host header, and Django logs a traceback for each.
    logging.getLogger("django.security.DisallowedHost").setLevel(logging.CRITICAL)
