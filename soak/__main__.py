"""`make soak`: run the client for long, and measure it; exit with 1 when memory or the like grows.

`python -m soak [reconnects|day] [--count N]`
"""

from __future__ import annotations

import argparse
import sys

from soak import day, reconnects, sample


def main() -> int:
    """Run the chosen soak tests; return 1 if something has grown, else 0."""
    parser = argparse.ArgumentParser(prog="python -m soak")
    parser.add_argument("what", choices=["reconnects", "day", "both"], default="both", nargs="?")
    parser.add_argument("--count", type=int, default=20_000, help="reconnects")
    options = parser.parse_args()
    grown = []
    if options.what in {"day", "both"}:
        grown += _report("24 hours on a simulated clock", day.run())
    if options.what in {"reconnects", "both"}:
        samples = reconnects.run(options.count, samples=10)
        grown += _report(f"{options.count:,} reconnects", samples)
    print("\n".join(grown) or "Nothing grows.")
    return 1 if grown else 0


def _report(what: str, samples: list[sample.Sample]) -> list[str]:
    print(f"\n{what}\n\n{sample.table(samples)}\n", flush=True)
    return sample.growth(samples)


if __name__ == "__main__":
    sys.exit(main())
