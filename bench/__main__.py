"""`make bench`: runs the benches one after the other, prints their tables, renews the page.

How to write one: put a module into this folder whose name begins with `gateway_`, `console_` or
`client_`. The first line of its docstring is the heading, the rest stands below it on the page:
say what is measured and how. `BASELINE` and `PEER` name the two columns for comparison, where it
has them. `run(size)` measures and returns `Figure`s; `size.short` asks for a few seconds that
only show that everything runs, with figures that are plausible and no more. A bench starts what
it needs (`stage.py` has servers and databases, `machine.py` what processes cost), leaves nothing
behind, and raises when it cannot measure: then the others go on, the figures of the run before
stay, and the end says who failed.
"""

from __future__ import annotations

import argparse
import gc
import logging
import signal
import sys
import time
from datetime import UTC, datetime

from bench import machine, publish, report
from bench.stage import log_tail
from tests.support.places import ROOT

TRIED = ".artifacts/bench"
"""Where the short form leaves its pages."""


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when every bench ran. What has been measured is written in any case."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", metavar="NAME", nargs="*", help=", ".join(report.names()))
    parser.add_argument("--short", action="store_true", help=f"only try; writes to {TRIED}")
    parser.add_argument("--print", action="store_true", help="write nothing")
    parser.add_argument("--page", action="store_true", help="write anew what was measured before")
    options = parser.parse_args(arguments)
    wanted = [] if options.page else options.only or report.names()
    if unknown := set(wanted) - set(report.names()):
        parser.error(f"no such bench: {', '.join(sorted(unknown))}")
    logging.basicConfig(level=logging.WARNING)
    machine.raise_file_limit()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing stays behind
    size = report.Size(short=options.short)
    # The short form's figures are no measurement: they never come among the others.
    record = {} if options.short else report.read_record()
    failed = []
    try:
        for name in wanted:
            entry = _measure(name, size)
            if entry is None:
                failed.append(name)
            else:
                record[name] = entry
            gc.collect()
    finally:
        if not options.print:
            known = {name: record[name] for name in report.names() if name in record}
            publish.publish(known, ROOT / TRIED if options.short else ROOT)
    if options.short and wanted:
        print("\nThis was the short form, whose figures and verdicts mean nothing.")
    if failed:
        print(f"did not run: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _measure(name: str, size: report.Size) -> report.Entry | None:
    print(f"\n{name} …", flush=True)
    began, pace = time.monotonic(), machine.Pace()
    try:
        pace.sample()
        bench = report.load(name)
        figures = bench.run(size)
        pace.sample()
        _check(figures)
    except Exception:
        logging.getLogger(name).exception("this bench failed; its programs said:\n%s", log_tail())
        return None
    print(f"{bench.title}\n{report.table(bench, figures)}")
    noise = f"noise of the machine {report.number(pace.noise_percent)} %"
    print(f"({time.monotonic() - began:.0f} s; {noise})", flush=True)
    return report.Entry(
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        machine=machine.describe(),
        figures=figures,
        noise_percent=pace.noise_percent,
    )


def _check(figures: list[report.Figure]) -> None:
    """Raise ValueError for what cannot have been measured."""
    if not figures:
        raise ValueError("no figures")
    if doubtful := [each.what for each in figures if not each.is_plausible]:
        raise ValueError(f"no plausible figure for {', '.join(doubtful)}")


if __name__ == "__main__":
    sys.exit(main())
