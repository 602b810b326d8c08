"""`make fuzz`: send hostile inputs to all fuzz targets, and print a table.

    python -m fuzz [--runs 1000000] [--seed N] [--target NAME]… [--plain]

`--runs` is the total number of inputs, divided by the targets' weights. Inputs are mutations of
valid inputs. atheris chooses mutations by the code that they reach, in a process for each target.
Without atheris, or with `--plain`, mutations are random, in this process. A target fails when an
input breaks an invariant or takes `SLOW_S`, or when its inputs leave objects behind. Then the input
and the command that repeats the run are printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.util
import random
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from fuzz.target import Target, mutated, prepare

MODULES = ("wire_targets", "client_targets", "server_targets")
"""Modules of this package, each with a list `TARGETS`."""
SLOW_S = 10
COLUMNS = ("target", "inputs", "seconds", "slowest ms", "objects kept")


class Run:
    """Send inputs to one target, measure time and objects, and print them after the last input."""

    def __init__(self, target: Target, inputs: int) -> None:
        self._target, self._inputs = target, inputs
        self._began, self._slowest_s = time.monotonic(), 0.0
        self._count = self._warm_objects = 0

    def __call__(self, data: bytes) -> None:
        began = time.process_time()  # CPU time: other work on the machine does not count
        self._target.run(data[: self._target.max_bytes])
        took_s = time.process_time() - began
        assert took_s < SLOW_S, f"an input took {took_s:.1f} s"
        self._slowest_s = max(self._slowest_s, took_s)
        self._count += 1
        if self._count == self._inputs // 5:
            self._warm_objects = _objects()
        if self._count == self._inputs:
            kept, seconds = _objects() - self._warm_objects, time.monotonic() - self._began
            assert kept < self._target.max_growth, f"{kept} objects are left behind"
            row = f"{self._inputs:,} | {seconds:.1f} | {self._slowest_s * 1000:.1f} | {kept:+,}"
            print(f"| {self._target.name} | {row} |", flush=True)


def _objects() -> int:
    gc.collect()
    return sys.getallocatedblocks()


def targets() -> dict[str, Target]:
    """Return all fuzz targets by name."""
    modules = [importlib.import_module(f"fuzz.{name}") for name in MODULES]
    return {each.name: each for module in modules for each in module.TARGETS}


def run_plain(target: Target, inputs: int, seed: int) -> None:
    """Send a target's seeds, then random mutations of them. Raise what an input raises."""
    run, dice, seeds = Run(target, inputs), random.Random(seed), target.seeds
    for number in range(inputs):
        data = seeds[number] if number < len(seeds) else mutated(dice, seeds, target.max_bytes)
        try:
            run(data)
        except BaseException:
            print(f"{target.name} fails for {data[:2000]!r}", file=sys.stderr)
            raise


def run_guided(name: str, inputs: int, seed: int) -> None:
    """Let atheris run the target in this process; do not return."""
    import atheris

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    packages = ["agent", "protocol", "server"]
    with atheris.instrument_imports(include=packages, enable_loader_override=False):
        target = targets()[name]
    prepare()
    corpus = tempfile.mkdtemp(prefix="fuzz-corpus-")
    for number, data in enumerate(target.seeds):
        Path(corpus, str(number)).write_bytes(data)
    options = [f"-runs={inputs}", f"-seed={seed}", f"-max_len={target.max_bytes}"]
    options += [f"-timeout={SLOW_S}", "-rss_limit_mb=1024", "-len_control=0"]
    options += [f"-artifact_prefix={corpus}-{name}-", corpus]
    atheris.Setup([sys.argv[0], *options], Run(target, inputs))
    atheris.Fuzz()


def main() -> int:
    """Run the chosen targets. Return 0 when none failed, else 1."""
    parser = argparse.ArgumentParser(prog="python -m fuzz")
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 2**31))
    parser.add_argument("--target", action="append", metavar="NAME")
    parser.add_argument("--plain", action="store_true", help="without atheris")
    parser.add_argument("--guided", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.guided:
        run_guided(options.target[0], options.runs, options.seed)
    known = targets()
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
        again = ["-m", "fuzz", "--target", target.name, "--runs", str(inputs)]
        again += ["--seed", str(options.seed)]
        try:
            if plain:
                run_plain(target, inputs, options.seed)
            else:
                command = [sys.executable, *again, "--guided"]
                subprocess.run(command, check=True, stderr=subprocess.PIPE)
        except Exception as exc:  # noqa: BLE001 - the other targets must still run
            failed.append(target.name)
            said = getattr(exc, "stderr", b"")[-4000:].decode(errors="replace")
            print(f"{target.name}: {traceback.format_exc()}\n{said}", file=sys.stderr)
            repeat = " ".join(["python", *again, *(["--plain"] if plain else [])])
            print(f"repeat it: {repeat}", file=sys.stderr, flush=True)
    print(f"\nseed {options.seed}, failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
