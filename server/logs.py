"""Write the log to standard error, with lines that repeat counted instead of written.

A line is written once a minute. Lines of one kind (one message of the code, with other values) are
written up to `MAX_ALIKE` times a minute. For the others, a line follows when the minute is over: it
says how many there were, and from which addresses most of them. So an attack is one screen of log,
and no flood hides who else attacks.
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
"""Kinds of lines that are counted at once. When there are more, all counts are written."""
MAX_ADDRESSES = 1_000
"""Addresses that are counted of one kind. Lines of further ones count in the total only."""
NAMED_ADDRESSES = 3
QUIET = ("websockets", "uvicorn", "asyncio", "django")
"""Libraries whose debug lines hold what passes over the wire."""


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
        """Return the line about those that were left out."""
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
    """Return the address that a line names, as limits count it, or an empty text."""
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
        """Write how many lines of each kind were left out, of windows that ended before `until`."""
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
    # It says when it stops, as the gateway does, and of a malformed request not who has sent it.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    # What a stranger asks for wrongly (an unknown path, a wrong Host header, too many fields) is in
    # the proxy's log, with the address. Django logs it without, and some of it with a traceback.
    logging.getLogger("django.request").setLevel(logging.ERROR)
    logging.getLogger("django.security").setLevel(logging.CRITICAL)
