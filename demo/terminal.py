"""Run a command of the client at a terminal, where a person answers its questions. Linux only."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

from demo.installation import Client, StageError


@dataclass
class Terminal:
    """The command's process, its keyboard, and what it has written."""

    process: subprocess.Popen[bytes]
    keyboard: int
    output: bytes = b""

    @property
    def said(self) -> str:
        return self.output.decode(errors="replace")

    def says(self, pattern: str, *, within_s: float = 30.0) -> re.Match[str]:
        """Wait until the command has written `pattern`, and return the match. Raise StageError."""
        assert self.process.stdout is not None  # noqa: S101 - a pipe was asked for
        pipe, end = self.process.stdout.fileno(), monotonic() + within_s
        while (found := re.search(pattern, self.said)) is None:
            readable, _, _ = select.select([pipe], [], [], max(0.0, end - monotonic()))
            more = os.read(pipe, 4096) if readable else b""
            if not more:
                raise StageError(f"the client did not say {pattern}: {self.said}")
            self.output += more
        return found

    def code(self) -> tuple[str, list[str]]:
        """Return the code that `login --code` shows, and its words."""
        code, words = self.says(r"\n    (\w{4}-\w{4})    (\w+(?:  \w+){3})\n").groups()
        return code, words.split()

    def answer(self, text: str) -> None:
        """Type `text` and Enter."""
        os.write(self.keyboard, text.encode() + b"\n")


@contextmanager
def at_terminal(client: Client, *arguments: str) -> Iterator[Terminal]:
    """Run a command of the client at a terminal, and kill it at the end of the context."""
    keyboard, screen = pty.openpty()  # type: ignore[attr-defined,unused-ignore] # on Linux
    with subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", "agent", *arguments],
        env=client.environ,
        stdin=screen,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        terminal = Terminal(process, keyboard)
        try:
            yield terminal
        finally:
            process.kill()
            os.close(keyboard)
            os.close(screen)
            client.output.append(terminal.said)
