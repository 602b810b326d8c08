"""Measure what a client process holds, and compare the measurements of two moments."""

from __future__ import annotations

import asyncio
import gc
import threading
from dataclasses import astuple, dataclass, fields
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """The measurements of one moment. `done` counts the reconnects or hours so far."""

    done: int
    memory_kib: int
    """Memory that this process has written. What it only reads, other processes may share."""
    objects: int
    """Objects that the garbage collector tracks, after a collection."""
    handles: int
    threads: int
    tasks: int
    log_bytes: int


SLACK = Sample(
    done=0, memory_kib=1024, objects=200, handles=2, threads=2, tasks=3, log_bytes=6_048_000
)
"""Allowed growth between the first and the last sample: work under way, spare memory of the
allocator, and six log files of 1 MB, each with one more line."""


def take(done: int, loop: asyncio.AbstractEventLoop | None, log_dir: Path) -> Sample:
    """Return a sample of this process."""
    gc.collect()
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return Sample(
        done=done,
        memory_kib=sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:")),
        objects=len(gc.get_objects()),
        handles=len(list(Path("/proc/self/fd").iterdir())) - 1,
        threads=threading.active_count(),
        tasks=len(asyncio.all_tasks(loop)) if loop else 0,
        log_bytes=sum(path.stat().st_size for path in log_dir.glob("client.log*")),
    )


def table(samples: list[Sample]) -> str:
    """Return the samples as a Markdown table."""
    names = [each.name.replace("_", " ").replace("kib", "KiB") for each in fields(Sample)]
    rows = [[f"{value:,}" for value in astuple(sample)] for sample in samples]
    return "\n".join(f"| {' | '.join(row)} |" for row in [names, ["--:"] * len(names), *rows])


def growth(samples: list[Sample]) -> list[str]:
    """Return a line for each measurement that grew too much from the first sample to the last."""
    rows = zip(fields(Sample)[1:], astuple(samples[0])[1:], astuple(samples[-1])[1:], strict=True)
    return [
        f"{field.name}: {before:,} -> {after:,}"
        for field, before, after in rows
        if after > before + getattr(SLACK, field.name)
    ]
