"""server/logs.py: repeated lines are counted, not written."""

from __future__ import annotations

import io
import logging
import re

import pytest

from server import logs
from server.logs import MAX_ALIKE, WINDOW_SECONDS, CountingHandler


class Log:
    """A log with a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.text = io.StringIO()
        self.handler = CountingHandler(self.text)
        self.logger = logging.Logger("test")
        self.logger.addHandler(self.handler)

    @property
    def lines(self) -> list[str]:
        return self.text.getvalue().splitlines()


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    made = Log()
    monkeypatch.setattr(logs, "monotonic", lambda: made.now)
    return made


def test_line_that_repeats_is_counted(log: Log) -> None:
    """A line that repeats is written once, and its count after a minute."""
    said = "the database is away: refused"
    for _ in range(1000):
        log.logger.warning("the database is away: %s", "refused")
    assert log.lines == [said]
    log.now += WINDOW_SECONDS + 1
    log.logger.warning("the database is away: %s", "refused")
    summary, again = log.lines[1:]
    assert re.fullmatch(rf"999 more lines since \d\d:\d\d:\d\d, like: {said}", summary)
    assert again == said


def test_lines_that_differ_in_values_are_limited(log: Log) -> None:
    """Lines that differ only in values, such as addresses, are limited together."""
    for number in range(5_000):
        address = f"192.0.{number // 256}.{number % 256}"
        log.logger.info("login of %s from %s is refused", "user 7", address)
    assert len(log.lines) == MAX_ALIKE
    log.handler.close()
    assert log.lines[-1].startswith(f"{5_000 - MAX_ALIKE} more lines since ")
    assert f"and {logs.MAX_ADDRESSES - 3} or more other addresses, like: login" in log.lines[-1]


def test_a_flood_hides_no_other_address(log: Log) -> None:
    """The summary names the addresses with the most lines; an IPv6 /64 counts as one."""
    for number in range(1_000):
        log.logger.info("login of %s from %s is refused", f"user {number}", f"2001:db8::{number}")
        if number % 100 == 99:
            log.logger.info("login of %s from %s is refused", f"user {number}", "198.51.100.4")
    log.handler.close()
    assert " from 2001:db8::/64 (980), 198.51.100.4 (10), like:" in log.lines[-1]


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
