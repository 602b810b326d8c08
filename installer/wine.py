"""Run Windows programs on Linux with Wine: a prefix, programs in it, and its server."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

NOTES = ("it looks like wine32", "multiarch needs to be", 'execute "dpkg', "apt-get install wine32")
"""Beginnings of the notes that Debian's `wine` prints when only 64-bit programs can run."""


@dataclass(frozen=True)
class Finished:
    """The result of a Windows program. `code` is -1 if the program was killed at its timeout."""

    code: int
    output: str


def windows_path(path: Path) -> str:
    """Return the name under which Windows programs see a file of this machine."""
    return "Z:" + str(path).replace("/", "\\")


class Wine:
    """One Wine prefix. Its server keeps running until `close` is called."""

    def __init__(self, prefix: Path, environment: Mapping[str, str] | None = None) -> None:
        self.prefix = prefix
        self.drive_c = prefix / "drive_c"
        self.environment = {
            "PATH": os.environ["PATH"],
            # Wine links the user's folders to the home directory: give Wine one beside the prefix.
            "HOME": str(prefix.parent / f"{prefix.name}-home"),
            "WINEPREFIX": str(prefix),
            "WINEDEBUG": "-all",
            # No browser engine, no .NET, no menu entries on the Linux desktop.
            "WINEDLLOVERRIDES": "mscoree=;mshtml=;winemenubuilder.exe=d",
            **(environment or {}),
        }
        self._launched: list[subprocess.Popen[bytes]] = []

    def run(
        self,
        *command: str,
        timeout_s: float = 60,
        environment: Mapping[str, str] | None = None,
        stdin: str | None = None,
        cwd: Path | None = None,
    ) -> Finished:
        """Run a program, wait for its end and return its output.

        Use `quiet` for a program that leaves others running: they would keep the output open.
        """
        try:
            done = subprocess.run(
                ["wine", *command],
                env={**self.environment, **(environment or {})},
                input=(stdin or "").encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Finished(-1, f"not finished after {timeout_s:g} s")
        output = done.stdout.decode("utf-8", "replace").replace("\r\n", "\n")
        lines = output.splitlines(keepends=True)
        return Finished(done.returncode, "".join(x for x in lines if not x.startswith(NOTES)))

    def quiet(self, *command: str, timeout_s: float = 120) -> int:
        """Run a program that may leave others running. Return its exit status, -1 when too slow."""
        process = self._start("wine", *command)
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return -1

    def launch(self, *command: str, pipe: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Start a program and leave it running. `pipe` is for its standard input and output."""
        process = self._start("wine", *command, pipe=pipe)
        self._launched.append(process)
        return process

    def _start(self, *command: str, pipe: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            env=self.environment,
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def boot(self) -> None:
        """Make the prefix if there is none, start its server and the programs of the Run keys."""
        self.prefix.parent.mkdir(parents=True, exist_ok=True)
        Path(self.environment["HOME"]).mkdir(parents=True, exist_ok=True)
        if not self.drive_c.exists():
            self.quiet("wineboot", "-i")
            self._server("-w")
        self._server("-p")
        self.quiet("wineboot")

    def close(self) -> None:
        """End every program of the prefix and the server."""
        self._server("-k")
        self._server("-w")
        while self._launched:
            self._launched.pop().communicate()

    def _server(self, option: str) -> None:
        self._start("wineserver", option).wait()
