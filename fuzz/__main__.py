"""`make fuzz`: send hostile inputs to all fuzz targets, and print a table.

    python -m fuzz [--runs 1000000] [--seed N] [--target NAME]… [--plain]

`--runs` is the number of inputs in all, shared out by the targets' weights. Inputs are valid ones,
mutated. atheris chooses mutations by the code that they reach; it needs a process for each target.
Without atheris, or with `--plain`, mutations are random, in this process. An input fails when it
breaks an invariant, takes `SLOW_S`, or when all inputs of a target leave objects behind. Then the
input and the command that repeats the run are printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.util
import json
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from fuzz.target import Target, mutated, prepare

MODULES = ("wire_targets", "file_targets", "local_targets", "server_targets")
"""Modules of this package, each with a list `TARGETS`."""
SLOW_S = 10
COLUMNS = ("target", "inputs", "seconds", "per second", "slowest ms", "objects kept", "edges")
RESULT = "fuzz-result "
"""Begins the line in which the process of a target reports its figures."""


class Run:
    """Sends inputs to one target, and measures what they cost."""

    def __init__(self, target: Target, inputs: int, on_end: Callable[[list[str]], None]) -> None:
        self._target, self._inputs, self._on_end = target, inputs, on_end
        self._began, self._slowest_s = time.monotonic(), 0.0
        self._count = self._warm_objects = 0

    def __call__(self, data: bytes) -> None:
        began = time.process_time()  # other work on the machine does not count
        self._target.run(data[: self._target.max_bytes])
        took_s = time.process_time() - began
        assert took_s < SLOW_S, f"an input took {took_s:.1f} s"
        self._slowest_s = max(self._slowest_s, took_s)
        self._count += 1
        if self._count == self._inputs // 5:
            self._warm_objects = _objects()
        if self._count == self._inputs:
            kept = _objects() - self._warm_objects
            seconds = time.monotonic() - self._began
            figures = [f"{self._inputs:,}", f"{seconds:.1f}", f"{self._inputs / seconds:,.0f}"]
            figures += [f"{self._slowest_s * 1000:.1f}", f"{kept:+,}"]
            assert kept < self._target.max_growth, f"{kept} objects are left behind"
            self._on_end(figures)


def _objects() -> int:
    gc.collect()
    return sys.getallocatedblocks()


def targets() -> list[Target]:
    """Return all targets."""
    return [each for name in MODULES for each in importlib.import_module(f"fuzz.{name}").TARGETS]


def run_plain(target: Target, inputs: int, seed: int) -> list[str]:
    """Send the seeds, then random mutations of them; return the figures."""
    figures: list[str] = []
    run, dice = Run(target, inputs, figures.extend), random.Random(seed)
    for number in range(inputs):
        seeds = target.seeds
        data = seeds[number] if number < len(seeds) else mutated(dice, seeds, target.max_bytes)
        try:
            run(data)
        except BaseException:
            print(f"{target.name} fails for {data[:2000]!r}", file=sys.stderr)
            raise
    return figures


def run_guided(name: str, inputs: int, seed: int) -> None:
    """Let atheris run the target in this process; do not return."""
    import atheris

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    packages = ["agent", "protocol", "server"]
    with atheris.instrument_imports(include=packages, enable_loader_override=False):
        (target,) = (each for each in targets() if each.name == name)
    prepare()
    corpus = tempfile.mkdtemp(prefix="fuzz-corpus-")
    for number, data in enumerate(target.seeds):
        Path(corpus, str(number)).write_bytes(data)
    options = [f"-runs={inputs}", f"-seed={seed}", f"-max_len={target.max_bytes}"]
    options += [f"-timeout={SLOW_S}", "-rss_limit_mb=1024", "-len_control=0"]
    options += [f"-artifact_prefix={corpus}-{name}-", corpus]
    run = Run(target, inputs, lambda figures: print(RESULT + json.dumps(figures), flush=True))
    atheris.Setup([sys.argv[0], *options], run)
    atheris.Fuzz()


def _row(target: Target, inputs: int, seed: int, *, plain: bool) -> list[str]:
    """Run one target; return its row. Raise RuntimeError when it fails."""
    if plain:
        try:
            return [target.name, *run_plain(target, inputs, seed), ""]
        except Exception:  # noqa: BLE001 - the other targets run all the same
            raise RuntimeError(traceback.format_exc()) from None
    command = [sys.executable, "-m", "fuzz", "--guided", f"--target={target.name}"]
    command += [f"--runs={inputs}", f"--seed={seed}"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    result = re.search(f"^{RESULT}(.*)", done.stdout, re.MULTILINE)
    if done.returncode != 0 or not result:
        raise RuntimeError(f"{done.stdout[-4000:]}\n{done.stderr[-1500:]}")
    edges = re.findall(r"cov: (\d+) ft:", done.stderr)
    return [target.name, *json.loads(result[1]), edges[-1] if edges else ""]


def main() -> int:
    """Return 0 when no input failed."""
    parser = argparse.ArgumentParser(prog="python -m fuzz")
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 2**31))
    parser.add_argument("--target", action="append", metavar="NAME")
    parser.add_argument("--plain", action="store_true", help="without atheris")
    parser.add_argument("--guided", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.guided:
        run_guided(options.target[0], options.runs, options.seed)
    known = {each.name: each for each in targets()}
    if unknown := set(options.target or []) - known.keys():
        parser.error(f"unknown targets: {unknown}; there are {', '.join(known)}")
    chosen = [known[name] for name in options.target or known]
    whole = sum(each.weight for each in chosen)
    plain = options.plain or importlib.util.find_spec("atheris") is None
    print(f"seed {options.seed}\n\n| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    if plain:
        prepare()
    failed = []
    for target in chosen:
        inputs = max(len(target.seeds) + 10, options.runs * target.weight // whole)
        try:
            row = _row(target, inputs, options.seed, plain=plain)
        except RuntimeError as exc:
            failed.append(target.name)
            print(f"{target.name}: {exc}\nrepeat it: python -m fuzz --target {target.name} "
                  f"--runs {inputs} --seed {options.seed}{' --plain' if plain else ''}",
                  file=sys.stderr, flush=True)  # fmt: skip
        else:
            print(f"| {' | '.join(row)} |", flush=True)
    print(f"\nseed {options.seed}, failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
