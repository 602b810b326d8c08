"""Run password hashing on one bounded executor.

A hash takes 0.3 s of a core (PBKDF2, 600,000 rounds) and does not hold the interpreter lock. The
executor has one thread for each core: more threads would finish nothing earlier and would take the
processor from the gateway's event loop.

Callers wait on their own thread, in the order of their calls, and without a connection to the
database: the connection goes back to the pool before the wait, because the pool is small and a
queue of 60 hashes takes ten seconds. When the queue is full, the caller gets `Busy` at once.

Hashes of an import run on the same executor, but one begins only when a thread is free that no
person needs, and with two or more cores the imports leave one thread free. So a person waits for an
import at most until a hash under way has ended, and at most once.
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
"""Hashes that may wait for each core: 20 s of work, which is as long as people wait for a page."""
DEADLINE_S = 120.0
"""Longer than a full queue takes, even when the machine is busy with something else."""
IDLE_WAIT_S = 10.0
"""How long an import waits for people's hashes before its job takes another look."""

_T = TypeVar("_T")


class Busy(Exception):
    """Too many passwords wait to be hashed. Nothing was done; the user may try again."""


def available_cores(
    mounted: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> int:
    """Return the cores that this process may use: its CPU affinity and the quota of its cgroups."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, math.ceil(min([cores or 1, *_quotas(mounted, own)])))


def _quotas(mounted: Path, own: Path) -> Iterator[float]:
    """Yield the cores of each quota (cgroup v2): of a container, a unit, or what it is in."""
    path = own.read_text().rpartition("0::")[2].strip("/\n") if own.exists() else ""
    # A container sees its own files at the top, and may know another path for them.
    for folder in (mounted / path, *(mounted / path).parents):
        with suppress(OSError, ValueError):  # no such file, or `max` instead of a number
            quota, period = map(int, (folder / "cpu.max").read_text().split())
            yield quota / period


_cores = available_cores()
IMPORT_THREADS = max(1, _cores - 1)
"""Hashes of imports that run at once."""
_executor = ThreadPoolExecutor(_cores, "hashing")
_changed = Condition()
_running = {"people": 0, "imports": 0}
"""How many calls wait or run; guarded by `_changed`."""
for _whose in _running:
    metrics.hashing.labels(_whose).set_function(partial(_running.__getitem__, _whose))


def run(work: Callable[[], _T], *, when_idle: bool = False) -> _T:
    """Return what `work` returns, called on the executor. Raise what it raises, or Busy.

    An import hashes `when_idle`: it begins when people leave a thread free, and gets Busy when
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
