"""`make fuzz`: all fuzz targets, one after the other, and a table of what they came to.

    python -m fuzz [--runs 1000000] [--seed N] [--target NAME]… [--plain] [--report FILE]

`--runs` is the number of inputs in all, shared out by the targets' weights. The exit code is 1
when an input broke an invariant, hung or left memory behind; the input is then written down.
"""

from __future__ import annotations

import argparse
import importlib
import json
import random
import re
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from fuzz.worker import MODULES, find, prepare, run_plain

GROWTH_OBJECTS, GROWTH_MIB = 20_000, 64
"""What may be left behind after four fifths of the inputs: libFuzzer keeps a corpus of its own."""
COLUMNS = ["target", "inputs", "seconds", "per second", "slowest ms", "RSS MiB", "objects", "edges"]


def targets() -> list[Any]:
    """All there are."""
    return [each for name in MODULES for each in importlib.import_module(f"fuzz.{name}").TARGETS]


def shares(runs: int, chosen: list[Any]) -> dict[str, int]:
    """How many inputs each target gets."""
    whole = sum(each.weight for each in chosen)
    return {each.name: max(len(each.seeds) + 10, runs * each.weight // whole) for each in chosen}


def run(target: Any, inputs: int, seed: int, *, plain: bool, folder: Path) -> dict[str, Any]:
    """One target; its figures, with `failed` when it did not stand."""
    report = folder / f"{target.name}.json"
    said = ""
    if plain:
        try:
            run_plain(target, inputs, seed, report)
        except Exception:  # noqa: BLE001 - it is told, and the others go on
            return {"target": target.name, "failed": traceback.format_exc()}
    else:
        command = [sys.executable, "-m", "fuzz.worker", target.name, f"--inputs={inputs}"]
        command += [f"--seed={seed}", f"--report={report}"]
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False
        )
        said = done.stderr
        # What Python says comes on standard output, what libFuzzer says on standard error.
        story = f"{done.stdout[-4000:]}\n{said[-1500:]}\nexit code {done.returncode}"
        if done.returncode != 0 or not report.exists():
            return {"target": target.name, "failed": story}
    figures: dict[str, Any] = json.loads(report.read_text())
    found = re.findall(r"cov: (\d+) ft: (\d+)", said)
    figures["edges"] = int(found[-1][0]) if found else None
    grown = figures["rss_mib_at_the_end"] - figures["rss_mib_at_a_fifth"]
    if figures["objects_grown"] > GROWTH_OBJECTS or grown > GROWTH_MIB:
        figures["failed"] = f"it grows: {figures}"
    return figures


def row(figures: dict[str, Any]) -> list[str]:
    """A line of the table."""
    rate = figures["inputs"] / max(figures["seconds"], 0.1)
    rss = f"{figures['rss_mib_at_a_fifth']} to {figures['rss_mib_at_the_end']}"
    cells = [figures["target"], f"{figures['inputs']:,}", figures["seconds"], f"{rate:,.0f}"]
    cells += [figures["slowest_ms"], rss, f"{figures['objects_grown']:+,}", figures["edges"] or "–"]
    return [str(cell) for cell in cells]


def main() -> int:
    """See the module's text."""
    parser = argparse.ArgumentParser(prog="python -m fuzz")
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 2**31))
    parser.add_argument("--target", action="append", choices=[each.name for each in targets()])
    parser.add_argument("--plain", action="store_true", help="mutate seeds, without atheris")
    parser.add_argument("--report", type=Path, help="write the table here, too")
    options = parser.parse_args()
    chosen = [find(name) for name in options.target] if options.target else targets()
    print(f"seed {options.seed}", flush=True)
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    print("\n".join(lines), flush=True)
    failures, inputs, seconds = [], 0, 0.0
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    if options.plain:
        prepare()
    for target in chosen:
        name, share = target.name, shares(options.runs, chosen)[target.name]
        figures = run(target, share, options.seed, plain=options.plain, folder=folder)
        if "inputs" in figures:
            inputs, seconds = inputs + figures["inputs"], seconds + figures["seconds"]
            lines.append(f"| {' | '.join(row(figures))} |")
            print(lines[-1], flush=True)
        if "failed" in figures:
            failures.append(name)
            print(f"{name}: {figures['failed']}", file=sys.stderr, flush=True)
    lines.append(f"\n{inputs:,} inputs in {seconds:,.0f} s, seed {options.seed}")
    print(lines[-1])
    if options.report:
        options.report.write_text("\n".join(lines) + "\n")
    if failures:
        print(f"failed: {', '.join(failures)}; the inputs are in {folder}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
