"""The real client with a probe: on SIGUSR1 it appends what it holds to a file, as a line of JSON.

`python -m soak.probed FILE`. The product has no such thing: it is put around it here. What
keeps other processes out is left off, so that a process without privileges can look at itself.
"""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from unittest import mock

from agent.__main__ import main
from agent.paths import find_paths
from agent.runtime import Runtime
from soak import sample


def put_probe(file: Path) -> None:
    """Answer SIGUSR1 from the start of the client's loop on."""
    start, log_dir = Runtime.start, find_paths().log_dir

    def start_with_probe(self: Runtime) -> None:
        def report(_: int, __: FrameType | None) -> None:
            found = sample.take(_connections(self), self._loop, log_dir)
            with file.open("a") as lines:
                lines.write(json.dumps(asdict(found)) + "\n")

        signal.signal(signal.SIGUSR1, report)
        start(self)

    Runtime.start = start_with_probe  # type: ignore[method-assign] # put around it
    mock.patch("agent.desktop.harden").start()


def _connections(runtime: Runtime) -> int:
    """How many were opened so far: they are numbered."""
    return runtime._machine.client.connection._last_number


if __name__ == "__main__":
    put_probe(Path(sys.argv[1]))
    sys.exit(main(["run", "--autostart"]))
