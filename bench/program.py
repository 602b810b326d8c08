"""Run the processes of a bench, and send them commands: one JSON object a line, both ways."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench import machine
from tests.support.places import ROOT

PREFIX = "= "
"""Begins the lines on standard output that answer commands."""
STOP_S = 30


class Program:
    """A running `python -m …` that prints addresses and obeys commands."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.pid, self._stdin, self._stdout = process.pid, process.stdin, process.stdout

    def line(self, beginning: str) -> str:
        """Return what follows `beginning` in the next line of output that starts with it."""
        for line in self._stdout:
            if line.startswith(beginning):
                return line.removeprefix(beginning).strip()
        raise RuntimeError(f"the program ended before it printed {beginning!r}")

    def port(self, kind: str) -> int:
        """Return the port of its `gateway` or `console`, which it prints when it listens."""
        return urlsplit(self.line(kind + "  ")).port or 0

    def ask(self, do: str, **arguments: object) -> Any:
        """Send a command; return its result. Raise RuntimeError when it failed."""
        self._stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._stdin.flush()
        answer = json.loads(self.line(PREFIX))
        if "error" in answer:
            raise RuntimeError(f"{do}: {answer['error']}")
        return answer["result"]


@contextmanager
def running(
    *arguments: str,
    log: Path,
    core: int = machine.LOAD_CORE,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Program]:
    """Run `python -m ARGUMENTS` on one core until the end of the block; it writes to `log`."""
    with (
        log.open("ab") as stderr,
        subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env=environ or os.environ,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            preexec_fn=machine.pinned(core),  # noqa: PLW1509 - called on the only thread
        ) as process,
    ):
        try:
            yield Program(process)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


async def obey(**handlers: Callable[..., Awaitable[Any]]) -> None:
    """Carry out the commands on standard input, one after the other, until its end."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        request = json.loads(line)
        try:
            answer = {"result": await handlers[request.pop("do")](**request)}
        except Exception as exc:  # noqa: BLE001 - the bench raises it
            answer = {"error": repr(exc)}
        print(PREFIX + json.dumps(answer), flush=True)
