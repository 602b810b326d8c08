"""Write the log to standard error, but only count the lines that repeat.

The same line is written once a minute. Lines of one kind (the same message with other values) are
written up to `MAX_ALIKE` times a minute. After the minute, one line gives the number of the others
and their most frequent addresses. So an attack fills one screen of log, and a flood of lines does
not hide other attackers.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field
from time import monotonic
from typing import TextIO

from server.addresses import counted_address

WINDOW_SECONDS = 60.0
MAX_ALIKE = 20
MAX_KINDS = 500
"""Most kinds of lines that are counted at once. When there are more, all counts are written."""
MAX_ADDRESSES = 1_000
"""Most addresses that are counted for one kind. Lines of others count in the total only."""
NAMED_ADDRESSES = 3
QUIET = ("websockets", "uvicorn", "asyncio", "django")
"""Libraries whose debug lines hold data from the network."""


@dataclass
class _Kind:
    """Lines of one kind within one window."""

    first: logging.LogRecord
    ends_at: float
    written: set[str] = field(default_factory=set)
    left_out: int = 0
    addresses: Counter[str] = field(default_factory=Counter)

    def leave_out(self, record: logging.LogRecord) -> None:
        """Count a line that is not written."""
        self.left_out += 1
        address = _address_in(record)
        if address and (address in self.addresses or len(self.addresses) < MAX_ADDRESSES):
            self.addresses[address] += 1

    def summary(self) -> logging.LogRecord:
        """Return the line that sums up the lines that were left out."""
        most = self.addresses.most_common(NAMED_ADDRESSES)
        whose = ", ".join(f"{address} ({count})" for address, count in most)
        if more := len(self.addresses) - len(most):
            whose += f" and {more} or more other addresses"
        since = time.strftime("%H:%M:%S", time.localtime(self.first.created))
        said = {
            "name": self.first.name,
            "levelno": self.first.levelno,
            "levelname": self.first.levelname,
            "msg": "%d more lines since %s%s, like: %s",
            "args": (
                self.left_out,
                since,
                whose and f" from {whose}",
                self.first.getMessage()[:500],
            ),
        }
        return logging.makeLogRecord(said)


def _address_in(record: logging.LogRecord) -> str:
    """Return the address in a line, as limits count it; an empty text if there is none."""
    for value in record.args if isinstance(record.args, tuple) else ():
        try:
            if isinstance(value, str):
                return counted_address(value)
        except ValueError:
            continue
    return ""


class CountingHandler(logging.StreamHandler[TextIO]):
    """Write records, and count those that repeat."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self._kinds: dict[tuple[str, int, str], _Kind] = {}
        """By logger, level and unformatted message; the oldest first."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or count it if it repeats. `logging` holds the handler's lock."""
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
            kind.leave_out(record)
        else:
            kind.written.add(text)
            super().emit(record)

    def close(self) -> None:
        """Write the counts that are left."""
        with self.lock or nullcontext():
            self._write_counts()
        super().close()

    def _write_counts(self, until: float | None = None) -> None:
        """Write the counts of windows that ended before `until`, or of all windows."""
        for key, kind in list(self._kinds.items()):
            if until is not None and kind.ends_at > until:
                break
            del self._kinds[key]
            if kind.left_out:
                super().emit(kind.summary())


def set_up(level: str) -> None:
    """Log to standard error from `level` on."""
    logging.basicConfig(
        level=level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        handlers=[CountingHandler()],
    )
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.INFO, logging.getLevelName(level.upper())))
    # uvicorn logs its stop, as the gateway does, and malformed requests without their address.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    # The proxy logs bad requests (an unknown path, a wrong Host header, too many fields) with the
    # address. Django logs them without the address, and some with a traceback.
    logging.getLogger("django.request").setLevel(logging.ERROR)
    logging.getLogger("django.security").setLevel(logging.CRITICAL)
