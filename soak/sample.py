"""What a client process holds at one moment, and whether it grows from moment to moment."""

from __future__ import annotations

import asyncio
import gc
import threading
from dataclasses import asdict, dataclass, fields
from pathlib import Path

LOG_LIMIT_BYTES = 6_000_000 + 6 * 8_000
"""Six files of 1 MB, each with one line more at most."""
MEMORY_SLACK_KIB = 1024
"""What an allocator may take at a late moment without anything being kept."""
OBJECTS_SLACK = 200


@dataclass(frozen=True)
class Sample:
    """`done` counts what the run counts: reconnects, or hours."""

    done: int
    memory_kib: int
    """Private: what would be free if the process ended."""
    objects: int
    """That the garbage collector watches, after a collection."""
    handles: int
    threads: int
    tasks: int
    log_bytes: int


def take(done: int, loop: asyncio.AbstractEventLoop | None, log_dir: Path) -> Sample:
    """Of this process."""
    gc.collect()
    return Sample(
        done=done,
        memory_kib=_private_kib(),
        objects=len(gc.get_objects()),
        handles=len(list(Path("/proc/self/fd").iterdir())) - 1,
        threads=threading.active_count(),
        tasks=len(asyncio.all_tasks(loop)) if loop else 0,
        log_bytes=sum(path.stat().st_size for path in log_dir.glob("client.log*")),
    )


def _private_kib() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def table(samples: list[Sample]) -> str:
    """Markdown."""
    names = [each.name for each in fields(Sample)]
    rows = [[f"{value:,}" for value in asdict(sample).values()] for sample in samples]
    heads = [name.replace("_", " ").replace("kib", "KiB") for name in names]
    lines = [heads, ["--:"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def growth(samples: list[Sample]) -> list[str]:
    """What has grown since the first sample, which is to be of a client that has warmed up.

    Handles, threads and tasks may differ by what is under way at the moment; memory and objects by
    a slack that does not depend on the length of the run.
    """
    first, *later = samples
    most = Sample(*(max(getattr(s, f.name) for s in later) for f in fields(Sample)))
    last = samples[-1]
    found = []
    if last.memory_kib > first.memory_kib + MEMORY_SLACK_KIB:
        found.append(f"memory: {first.memory_kib} -> {last.memory_kib} KiB")
    if last.objects > first.objects + OBJECTS_SLACK:
        found.append(f"objects: {first.objects} -> {last.objects}")
    for name, slack in (("handles", 2), ("threads", 2), ("tasks", 3)):
        before, after = getattr(first, name), getattr(most, name)
        if after > before + slack:
            found.append(f"{name}: {before} -> {after}")
    if most.log_bytes > LOG_LIMIT_BYTES:
        found.append(f"log: {most.log_bytes} bytes")
    return found
