"""Runs one fuzz target: by atheris in a process of its own, or by plain mutation in this one.

    python -m fuzz.worker NAME --inputs N --seed S --report FILE

An input that breaks an invariant ends the process with its bytes on standard error.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import logging
import random
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from fuzz.mutate import mutated
from fuzz.target import quick_keys, watch_log

MODULES = ("wire_targets", "file_targets", "local_targets", "server_targets", "conversations")
"""In `fuzz`; each has a list `TARGETS`."""
SLOW_S = 10
"""An input that takes longer counts as a hang."""


def find(name: str) -> Any:
    """The target of this name."""
    for module in MODULES:
        for target in importlib.import_module(f"fuzz.{module}").TARGETS:
            if target.name == name:
                return target
    raise SystemExit(f"no such target: {name}")


class Watched:
    """Runs inputs, and measures what they cost: time, objects and memory left behind."""

    def __init__(self, target: Any, inputs: int, report: Path) -> None:
        self._target = target
        self._inputs = inputs
        self._report = report
        self._count = 0
        self._slowest = 0.0
        self._began = time.monotonic()
        self._first: tuple[int, int] = (0, 0)

    def __call__(self, data: bytes) -> None:
        self._count += 1
        before = time.monotonic()
        self._target.run(data[: self._target.max_bytes])
        self._slowest = max(self._slowest, time.monotonic() - before)
        if self._count == max(1, self._inputs // 5):
            self._first = self._size()
        if self._count == self._inputs:
            self._write()

    def _size(self) -> tuple[int, int]:
        gc.collect()
        return sys.getallocatedblocks(), psutil.Process().memory_info().rss

    def _write(self) -> None:
        blocks, rss = self._size()
        figures = {
            "target": self._target.name,
            "inputs": self._count,
            "seconds": round(time.monotonic() - self._began, 1),
            "slowest_ms": round(self._slowest * 1000, 1),
            "objects_grown": blocks - self._first[0],
            "rss_mib_at_a_fifth": round(self._first[1] / 2**20, 1),
            "rss_mib_at_the_end": round(rss / 2**20, 1),
        }
        self._report.write_text(json.dumps(figures))


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--inputs", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--report", type=Path, required=True)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import atheris

    packages = ["agent", "server", "scramp"]
    with atheris.instrument_imports(include=packages, enable_loader_override=False):
        target = find(options.name)
    prepare()
    run_atheris(target, Watched(target, options.inputs, options.report), options)


def prepare() -> None:
    """Set this process up for inputs by the thousand. It is good for nothing else then."""
    quick_keys()
    watch_log()
    logging.captureWarnings(capture=True)


def run_plain(target: Any, inputs: int, seed: int, report: Path) -> None:
    """Seeds, then mutations of them, in this process."""
    run, dice = Watched(target, inputs, report), random.Random(seed)
    for number in range(inputs):
        seeds = target.seeds
        data = seeds[number] if number < len(seeds) else mutated(dice, seeds, target.max_bytes)
        try:
            run(data)
        except BaseException:
            print(f"{target.name} does not stand {data!r}", file=sys.stderr)
            raise


def run_atheris(target: Any, run: Watched, options: argparse.Namespace) -> None:
    """Guided by coverage of our own code; does not return."""
    import atheris

    with tempfile.TemporaryDirectory(prefix="fuzz-", dir="/dev/shm") as corpus:
        for number, seed in enumerate(target.seeds):
            Path(corpus, str(number)).write_bytes(seed)
        atheris.Setup(
            [
                sys.argv[0],
                f"-runs={options.inputs}",
                f"-seed={options.seed % 2**32 or 1}",
                f"-max_len={target.max_bytes}",
                f"-timeout={SLOW_S}",
                "-rss_limit_mb=1024",
                "-len_control=0",
                f"-artifact_prefix={options.report.parent}/{target.name}-",
                corpus,
            ],
            run,
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
