"""`make demo TOUR=1`: walk through the manual with real pages, server and client.

Only the server's clock is moved, so that thirty days pass in a minute; the client counts days by
the server's clock. Each step prints what the manual says and what was seen. The exit code is 1 if
the two differ in any step.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from demo.installation import client_pc, running_server, seed
from demo.tour import beyond, cases
from demo.tour.guide import Guide


def tour(directory: Path, *, log_level: str = "info") -> Guide:
    """Run all cases, with all files in `directory`. `log_level` is that of the clients."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    with ExitStack() as stack:
        addresses = stack.enter_context(running_server(directory / "server"))
        pcs = [stack.enter_context(client_pc(directory, name)) for name in ("pc", "new-pc")]
        for pc in pcs:
            pc.environ.pop("DISPLAY", None)  # warnings are read from the client's output
            pc.environ |= {"COCONOWORK_LANGUAGE": "ja", "COCONOWORK_LOG_LEVEL": log_level}
        guide = Guide(addresses, pcs, *seed())
        for title, case in (cases.ALL | beyond.ALL).items():
            guide.run(title, case)
    return guide


def main() -> int:
    """Take the tour; return the exit code."""
    with TemporaryDirectory(prefix="coconowork-tour-") as directory:
        return tour(Path(directory)).conclude()


if __name__ == "__main__":
    sys.exit(main())
