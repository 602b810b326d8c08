"""Write to Windows' event log "Application", which administrators collect from many PCs.

No file with descriptions is registered, so the Event Viewer shows the text after a sentence of its
own, and programs find the text as the event's only string.
"""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("for Windows")

import logging
from contextlib import suppress
from threading import Thread

import pywintypes
import win32evtlog

from agent.logs import WindowsEvent

SOURCE = "coconowork client"
MAX_CHARS = 30_000  # Windows takes 31,839
WRITE_S = 2.0  # seconds that the service of the event log may take; then the client goes on


class EventLogHandler(logging.Handler):
    """Write records with a `windows_event`, and critical ones, which are defects."""

    def emit(self, record: logging.LogRecord) -> None:
        defect = WindowsEvent.DEFECT if record.levelno >= logging.CRITICAL else None
        number = getattr(record, "windows_event", defect)
        if number is not None:
            with suppress(Exception):  # no text can be made, or no thread
                work = Thread(target=_report, args=(number, self.format(record)), daemon=True)
                work.start()
                work.join(WRITE_S)


def _report(event: WindowsEvent, text: str) -> None:
    kinds = {
        WindowsEvent.PASSWORD_RECEIVED: win32evtlog.EVENTLOG_INFORMATION_TYPE,
        WindowsEvent.DEFECT: win32evtlog.EVENTLOG_ERROR_TYPE,
    }
    kind = kinds.get(event, win32evtlog.EVENTLOG_WARNING_TYPE)
    with suppress(pywintypes.error):  # the log is full, or switched off
        source = win32evtlog.RegisterEventSource(None, SOURCE)
        try:
            win32evtlog.ReportEvent(source, kind, 0, event.value, None, [text[:MAX_CHARS]], None)
        finally:
            win32evtlog.DeregisterEventSource(source)
