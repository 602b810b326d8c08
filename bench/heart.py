"""Looks at a program from inside: how long its loop stood still, and commands over stdin."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable
from typing import Any

BEAT_SECONDS = 0.002
PREFIX = "= "
"""Begins the lines on stdout that are answers."""

Handler = Callable[..., Any]


class Heart:
    """Beats on a loop while it is watched; otherwise it costs nothing."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._beating = False
        self._longest_s = 0.0
        self._beats = 0
        self._last = 0.0

    def watch(self) -> None:
        """Begin. From any thread."""
        self._longest_s, self._beats, self._beating = 0.0, 0, True
        self._loop.call_soon_threadsafe(self._start)

    def report(self) -> dict[str, float]:
        """End: by how many ms a beat was late at most, and how many beats there were."""
        self._beating = False
        return {"stall_ms": self._longest_s * 1000, "beats": self._beats}

    def _start(self) -> None:
        self._last = time.perf_counter()
        self._loop.call_later(BEAT_SECONDS, self._beat)

    def _beat(self) -> None:
        now = time.perf_counter()
        self._longest_s = max(self._longest_s, now - self._last - BEAT_SECONDS)
        self._last = now
        self._beats += 1
        if self._beating:
            self._loop.call_later(BEAT_SECONDS, self._beat)


def obey(handlers: dict[str, Handler]) -> None:
    """Answer `{"do": name, …}` lines on stdin, on a thread of their own, until its end."""

    def serve() -> None:
        rest = b""
        while data := os.read(0, 65536):  # no lock, which the interpreter's end would wait for
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                arguments = json.loads(line)
                answer = handlers[arguments.pop("do")](**arguments)
                print(PREFIX + json.dumps(answer), flush=True)

    threading.Thread(target=serve, name="commands", daemon=True).start()
