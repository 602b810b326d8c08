"""`make soak`: long runs of the client, in figures; the exit code is 1 when anything grows.

`python -m soak [reconnects|day] [--count N]`
"""

from __future__ import annotations

import argparse
import sys

from soak import day, reconnects, sample


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    parser.add_argument("what", choices=["reconnects", "day", "both"], default="both", nargs="?")
    parser.add_argument("--count", type=int, default=20_000, help="reconnects")
    options = parser.parse_args()
    grown = []
    if options.what in {"day", "both"}:
        samples = day.run()
        print(f"\n24 hours by an injected clock\n\n{sample.table(samples)}\n")
        grown += sample.growth(samples)
    if options.what in {"reconnects", "both"}:
        samples = reconnects.run(options.count, samples=10)
        print(f"\n{options.count:,} reconnects\n\n{sample.table(samples)}\n")
        grown += sample.growth(samples)
    print("\n".join(grown) or "Nothing grows.")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
