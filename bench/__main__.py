"""`make bench`: run the benches one after the other and print their tables.

How to add a bench: put a module into this folder and its name into `BENCHES`. The module's
docstring says what is measured and how, `BASELINE` names the baseline of the comparison, and
`run(size)` measures and returns `Figure`s. A bench starts all that it needs, leaves nothing behind,
and raises when it cannot measure; the other benches still run. `docs/benchmarks.md` is written by
hand and has the tables of the last full run.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import signal
import sys
import time
from datetime import UTC, datetime

from bench import machine, report

BENCHES = (
    "gateway_waiting",
    "gateway_push",
    "console_pages",
    "client_idle",
    "client_start",
)


def main(arguments: list[str] | None = None) -> int:
    """Run the benches. Return 0 when every bench ran and kept its limits, else 1."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure it all.")
    parser.add_argument("--only", metavar="NAME", choices=BENCHES, help=", ".join(BENCHES))
    parser.add_argument("--short", action="store_true", help="only try; figures mean nothing")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING)
    machine.raise_file_limit()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends what was started
    print(f"{datetime.now(UTC):%Y-%m-%d}; {machine.describe()}", flush=True)
    size = report.Size(short=options.short)
    good = [_run(name, size) for name in ([options.only] if options.only else BENCHES)]
    if options.short:
        print("\nThis was a short run: its figures mean nothing.")
    return 0 if all(good) else 1


def _run(name: str, size: report.Size) -> bool:
    """Run one bench; return whether it ran and, unless it was short, kept its limits."""
    began = time.monotonic()
    try:
        bench = importlib.import_module(f"bench.{name}")
        figures: list[report.Figure] = bench.run(size)
    except Exception:
        logging.getLogger(name).exception("this bench failed")
        return False
    print(f"\n{name} ({time.monotonic() - began:.0f} s)\n")
    print(report.table(figures, baseline=bench.BASELINE), flush=True)
    return size.short or all(figure.is_met for figure in figures)


if __name__ == "__main__":
    sys.exit(main())
