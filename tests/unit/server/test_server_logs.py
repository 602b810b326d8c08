"""server/logs.py: lines that repeat are counted."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from server import logs
from server.logs import MAX_ALIKE, WINDOW_SECONDS, CountingHandler


class Log:
    """A log with a clock that a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.text = io.StringIO()
        self.handler = CountingHandler(self.text)
        self.logger = logging.Logger("test")
        self.logger.addHandler(self.handler)
        monkeypatch.setattr(logs, "monotonic", lambda: self.now)

    @property
    def lines(self) -> list[str]:
        return self.text.getvalue().splitlines()


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    made = Log(monkeypatch)
    yield made
    made.handler.close()


def test_line_that_repeats_is_counted(log: Log) -> None:
    """A line that repeats is written once, and its count after a minute."""
    for _ in range(1000):
        log.logger.warning("the database is away: %s", "refused")
    assert log.lines == ["the database is away: refused"]
    log.now += WINDOW_SECONDS + 1
    log.logger.warning("the database is away: %s", "refused")
    assert log.lines[1:] == [
        "999 more lines like this in a minute: the database is away: refused",
        "the database is away: refused",
    ]


def test_lines_that_differ_in_values_are_limited(log: Log) -> None:
    """An attack from many addresses is a screen of log, not a disk full of it."""
    for number in range(5_000):
        log.logger.info("login from 192.0.%d.%d is refused", number // 256, number % 256)
    assert len(log.lines) == MAX_ALIKE
    log.handler.close()
    assert log.lines[-1].startswith(f"{5_000 - MAX_ALIKE} more lines like this in a minute: login")


def test_other_lines_are_written(log: Log) -> None:
    """A flood of one kind hides no other line; debug lines are not counted."""
    for _ in range(100):
        log.logger.info("flood")
    log.logger.info("something else")
    log.logger.error("flood")
    for _ in range(3):
        log.logger.debug("detail")
    assert log.lines == ["flood", "something else", "flood", *["detail"] * 3]


def test_kinds_are_bounded(log: Log) -> None:
    """Thousands of different lines take bounded memory, and all are written."""
    for number in range(3 * logs.MAX_KINDS):
        log.logger.info(f"line {number}")  # noqa: G004 - a kind of its own each
    assert len(log.lines) == 3 * logs.MAX_KINDS
