"""Run password hashing on one bounded executor.

A hash takes 0.3 s of a core (PBKDF2, 600,000 rounds) and does not hold the interpreter lock. The
executor has one thread for each core: more threads would not be faster, and would take CPU time
from the gateway's event loop.

Callers wait on their own thread, in the order of their calls, and without a connection to the
database: the connection goes back to the pool before the wait, because the pool is small and a
queue of 60 hashes takes ten seconds. When the queue is full, the caller gets `Busy` at once.

Hashes of an import run on the same executor, but start only when a thread is free and no person
waits. With two or more cores, imports leave one thread free. So a person waits at most once for an
import, until one running hash has ended.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Condition
from typing import TypeVar

from django.db import connection

from server import metrics

QUEUE_PER_CORE = 64
"""Most hashes that wait for each core: 20 s of work, as long as people wait for a page."""
DEADLINE_S = 120.0
"""Longer than a full queue takes, even when the machine is busy with something else."""
IDLE_WAIT_S = 10.0
"""Seconds that an import waits for a free thread before it raises Busy."""

_T = TypeVar("_T")


class Busy(Exception):
    """Raised when too many passwords wait to be hashed. Nothing was done; the user may retry."""


def available_cores(
    mounted: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> int:
    """Return the cores that this process may use: its CPU affinity and the quota of its cgroups."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, math.ceil(min([cores or 1, *_quotas(mounted, own)])))


def _quotas(mounted: Path, own: Path) -> Iterator[float]:
    """Yield the cores of each CPU quota (cgroup v2) of this process's cgroup and its parents."""
    path = own.read_text().rpartition("0::")[2].strip("/\n") if own.exists() else ""
    # In a container, its own files are at the top, and the path may not exist.
    for folder in (mounted / path, *(mounted / path).parents):
        with suppress(OSError, ValueError):  # no such file, or `max` instead of a number
            quota, period = map(int, (folder / "cpu.max").read_text().split())
            yield quota / period


_cores = available_cores()
IMPORT_THREADS = max(1, _cores - 1)
"""Most hashes of imports that run at once."""
_executor = ThreadPoolExecutor(_cores, "hashing")
_changed = Condition()
_running = {"people": 0, "imports": 0}
"""Number of calls that wait or run; guarded by `_changed`."""
for _whose in _running:
    metrics.hashing.labels(_whose).set_function(partial(_running.__getitem__, _whose))


def run(work: Callable[[], _T], *, when_idle: bool = False) -> _T:
    """Run `work` on the executor, and return or raise its result. Raise Busy when it is full.

    An import hashes `when_idle`: the work starts when people leave a thread free. Raise Busy when
    they leave none for `IDLE_WAIT_S`.
    """
    give_back_connection()
    whose = "imports" if when_idle else "people"
    with _changed:
        has_place = _changed.wait_for(_may_import, IDLE_WAIT_S) if when_idle else _may_queue()
        if not has_place:
            raise Busy
        _running[whose] += 1
    future = _executor.submit(work)
    try:
        return future.result(DEADLINE_S)
    except TimeoutError:
        future.cancel()
        raise Busy from None
    finally:
        with _changed:
            _running[whose] -= 1
            _changed.notify_all()


def _may_queue() -> bool:
    return _running["people"] < _cores * (1 + QUEUE_PER_CORE)


def _may_import() -> bool:
    return sum(_running.values()) < _cores and _running["imports"] < IMPORT_THREADS


def give_back_connection() -> None:
    """Return this thread's connection to the pool, unless a transaction needs it."""
    if not connection.in_atomic_block:
        connection.close()
