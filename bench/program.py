"""Run the processes of a bench, and send them commands: one JSON object a line, both ways."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench import machine
from tests.support.places import ROOT

PREFIX = "= "
"""Begins the lines on standard output that answer commands."""
STOP_S = 30
Handler = Callable[..., Any]


class Program:
    """A running `python -m …`, on one core, its standard error appended to `log`."""

    def __init__(self, arguments: list[str], *, environ: Mapping[str, str], core: int, log: Path):
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                env=environ,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                preexec_fn=machine.pinned(core),  # noqa: PLW1509 - called on the only thread
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout

    @property
    def pid(self) -> int:
        return self._process.pid

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

    def end(self) -> None:
        """Terminate the program, and kill it when it does not stop in time."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stdin.close()
        self._stdout.close()


@contextmanager
def running(
    *arguments: str,
    log: Path,
    core: int = machine.LOAD_CORE,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Program]:
    """Run `python -m ARGUMENTS` until the end of the block."""
    program = Program(list(arguments), environ=environ or os.environ, core=core, log=log)
    try:
        yield program
    finally:
        program.end()


def obey(handlers: Mapping[str, Handler]) -> None:
    """Carry out the commands on standard input, one after the other, until its end."""
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"result": handlers[request.pop("do")](**request)}
        except BaseException as exc:  # noqa: BLE001 - the bench raises it
            answer = {"error": repr(exc)}
        print(PREFIX + json.dumps(answer), flush=True)


def obey_on(
    loop: asyncio.AbstractEventLoop, handlers: Mapping[str, Callable[..., Coroutine[Any, Any, Any]]]
) -> None:
    """Carry out commands by coroutines on `loop`, from a thread."""

    def on_loop(handler: Callable[..., Coroutine[Any, Any, Any]]) -> Handler:
        return lambda **arguments: asyncio.run_coroutine_threadsafe(
            handler(**arguments), loop
        ).result()

    wrapped = {name: on_loop(handler) for name, handler in handlers.items()}
    threading.Thread(target=obey, args=(wrapped,), daemon=True).start()
