"""Run the real client with a probe: `python -m soak.probed FILE`.

On SIGUSR1, the client appends a sample of itself to the file, as a line of JSON. Its protection
against other processes is off, so that it can read its own memory without privileges.
"""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from unittest import mock

from agent.__main__ import main
from agent.paths import find_paths
from agent.runtime import Runtime
from soak import sample


def put_probe(file: Path) -> None:
    """Patch the client so that it writes a sample to `file` on each SIGUSR1."""
    start, log_dir = Runtime.start, find_paths().log_dir

    def start_with_probe(self: Runtime) -> None:
        def report(*_: object) -> None:
            connections = self._machine.connection.opened
            found = sample.take(connections, self._loop, log_dir)
            with file.open("a") as lines:
                lines.write(json.dumps(asdict(found)) + "\n")

        signal.signal(signal.SIGUSR1, report)
        start(self)

    Runtime.start = start_with_probe  # type: ignore[method-assign] # this installs the probe
    mock.patch("agent.desktop.harden").start()


if __name__ == "__main__":
    put_probe(Path(sys.argv[1]))
    sys.exit(main(["run", "--autostart"]))
