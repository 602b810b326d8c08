"""What the client writes to Windows' event log."""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("for Windows")

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import win32evtlog

from agent import logs
from agent.logs import WindowsEvent
from agent.windows import event_log
from agent.windows.event_log import EventLogHandler

log = logging.getLogger("agent.test")


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Any, ...]]]:
    """Yield type, number and text of each written event, after Windows accepted it."""
    found: list[tuple[Any, ...]] = []
    report = win32evtlog.ReportEvent

    def noted(source: Any, kind: int, category: int, number: int, sid: Any, *rest: Any) -> None:
        report(source, kind, category, number, sid, *rest)
        found.append((kind, number, rest[0][0]))

    monkeypatch.setattr(win32evtlog, "ReportEvent", noted)
    logs.set_up(tmp_path / "client.log", to_stderr=False)
    logs.add(EventLogHandler())
    yield found
    logs.tear_down()


def test_what_fleets_collect(written: list[tuple[Any, ...]]) -> None:
    """Only received, refused and old passwords, and defects, are written."""
    log.warning("connection lost")
    log.info("received", extra=WindowsEvent.PASSWORD_RECEIVED.extra)
    log.warning("refused", extra=WindowsEvent.PASSWORD_REFUSED.extra)
    log.warning("old, %d days", 3, extra=WindowsEvent.OLD_PASSWORD.extra)
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    information, warning, error = 4, 2, 1
    assert [(kind, number) for kind, number, _ in written] == [
        (information, 1),
        (warning, 2),
        (warning, 3),
        (error, 4),
    ]
    assert "old, 3 days" in written[2][2]
    assert "ZeroDivisionError" in written[3][2]


def test_a_record_that_cannot_be_formatted(written: list[tuple[Any, ...]]) -> None:
    """A record that cannot be formatted is dropped; the code that logs gets no error."""
    for said in ("three", 3):
        record = log.makeRecord("agent", logging.CRITICAL, "", 0, "%d days", (said,), None)
        EventLogHandler().handle(record)
    assert len(written) == 1


def test_a_service_that_hangs_delays_little(
    written: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client runs on when the event log does not answer or refuses events."""
    gate = threading.Event()
    monkeypatch.setattr(event_log, "WRITE_S", 0.1)
    monkeypatch.setattr(win32evtlog, "RegisterEventSource", lambda *_: gate.wait(60))
    log.critical("first")
    assert written == []
    gate.set()

    def refuse(*_: object) -> None:
        raise win32evtlog.error(1502, "RegisterEventSource", "The event log file is corrupted")

    monkeypatch.setattr(win32evtlog, "RegisterEventSource", refuse)
    log.critical("second")
    assert "second" not in repr(written)
