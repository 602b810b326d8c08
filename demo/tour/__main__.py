"""`make demo TOUR=1`: walk through the manual with real pages, server and client.

Only the server's clock is moved, so that thirty days pass in a minute; the client counts days by
the server's clock. Each step prints what the manual says and what was seen. The exit code is 1
when anything was not as the manual says.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from demo.installation import client_pc, running_server, seed
from demo.tour import beyond, cases
from demo.tour.guide import Guide


def main() -> int:
    """Run all cases; return the exit code."""
    parser = argparse.ArgumentParser(prog="make demo TOUR=1", description=__doc__)
    parser.add_argument("--keep", type=Path, help="leave databases, logs and outputs here")
    parser.add_argument("--secrets", type=Path, help="write the passwords that were used here")
    parser.add_argument("--log-level", default="info", help="of the client (info)")
    options = parser.parse_args()
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    with ExitStack() as stack:
        directory = options.keep or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="coconowork-tour-"))
        )
        addresses = stack.enter_context(running_server(directory / "server"))
        pcs = [stack.enter_context(client_pc(directory, name)) for name in ("pc", "new-pc")]
        for pc in pcs:
            pc.environ.pop("DISPLAY", None)  # warnings are read from the terminal
            pc.environ["COCONOWORK_LANGUAGE"] = "ja"
            pc.environ["COCONOWORK_LOG_LEVEL"] = options.log_level
        guide = Guide(addresses, pcs, *seed())
        try:
            for title, case in (cases.ALL | beyond.ALL).items():
                guide.run(title, case)
        finally:
            for pc in pcs:
                pc.stop()
            if options.keep:
                lines = [line for pc in pcs for line in pc.output]
                (directory / "client-output.txt").write_text("\n".join(lines), "utf-8")
            if options.secrets:
                options.secrets.write_text(json.dumps(guide.passwords))
    return guide.conclude()


if __name__ == "__main__":
    sys.exit(main())
