"""Describe the machine of a bench, assign its cores, and measure processes. Linux only."""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

SERVER_CORE, LOAD_CORE = 0, -1
"""Indexes in CORES: the first core is for the measured server, the last for all else."""
CORES = sorted(os.sched_getaffinity(0))
_OPEN_FILES = 60_000
_IDLE_S = 60


def describe() -> str:
    """Return cores, processor, memory, Python and kernel, in one line."""
    model = Path("/proc/cpuinfo").read_text().partition("model name\t: ")[2].partition("\n")[0]
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{len(CORES)} cores of {model or platform.machine()}, {memory:.0f} GiB, "
        f"Python {platform.python_version()}, Linux {platform.release()}"
    )


def raise_file_limit() -> None:
    """Let this process and its children open as many files as the system permits."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # only root may exceed the hard limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def keep_on(core: int) -> None:
    """Keep this thread, and what it starts, on this core."""
    os.sched_setaffinity(0, {CORES[core]})


@contextmanager
def kept_on(core: int) -> Iterator[None]:
    """Keep this thread, and what it starts, on this core during the block."""
    before = os.sched_getaffinity(0)
    keep_on(core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def private_kib(pid: int) -> int:
    """Return a process's memory in KiB, with its share of shared memory (PSS)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(text.partition("\nPss:")[2].split()[0])


def cpu_s(pid: int, *, children: bool = False) -> float:
    """Return the CPU seconds of a process, and of its `children`, both running and ended."""
    process = psutil.Process(pid)
    times = process.cpu_times()
    total = times.user + times.system
    if children:
        total += times.children_user + times.children_system
        total += sum(cpu_s(each.pid) for each in process.children(recursive=True))
    return float(total)


def wait_until_idle(pid: int) -> None:
    """Wait until the process uses less than a twentieth of a core. Raise TimeoutError."""
    end = time.monotonic() + _IDLE_S
    while time.monotonic() < end:
        before = cpu_s(pid)
        time.sleep(0.4)
        if cpu_s(pid) - before < 0.02:
            return
    raise TimeoutError("the server does not become idle")


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the smallest value that this percentage of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
