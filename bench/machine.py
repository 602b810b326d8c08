"""The machine that a bench runs on: what it is, and what processes on it cost. Linux only."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

SERVER_CORE, LOAD_CORE = 0, -1
"""Which of the cores this process may use: the first for the server, the last for all else."""
_CORES = sorted(os.sched_getaffinity(0))
_ENOUGH_FILES = 60_000
_IDLE_SECONDS = 60
_WORK = 20_000
"""Rounds of hashing, and of the interpreter, in a piece of work."""
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


def describe() -> str:
    """Cores, memory, processor, Python and kernel, in one line."""
    model = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{len(_CORES)} cores of {model[1] if model else platform.machine()}, {memory:.0f} GiB, "
        f"Python {platform.python_version()}, Linux {platform.release()}"
    )


def raise_file_limit() -> int:
    """As many open files as this process, and those that it starts, may have; how many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # only root may have more than that
        resource.setrlimit(resource.RLIMIT_NOFILE, (_ENOUGH_FILES, _ENOUGH_FILES))
        return _ENOUGH_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def pinned(core: int, *, nice: int = 0) -> Callable[[], None]:
    """For `preexec_fn`: run on this one core, with this much less priority."""

    def apply() -> None:
        os.sched_setaffinity(0, {_CORES[core]})
        os.nice(nice)

    return apply


@contextmanager
def kept_on(core: int) -> Iterator[None]:
    """This thread, and what it starts, run on that core meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {_CORES[core]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def private_kib(pids: Iterable[int]) -> float:
    """Memory that would be free if these processes ended: private pages and their share (PSS)."""
    return sum(_pss_kib(pid) for pid in pids)


def _pss_kib(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    assert found is not None
    return int(found[1])


def kernel_kib() -> float:
    """What the kernel holds for sockets and other objects: slab, and TCP's buffers."""
    slab = re.search(r"^Slab:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    tcp = re.search(r"^TCP: .* mem (\d+)$", Path("/proc/net/sockstat").read_text(), re.MULTILINE)
    assert slab is not None
    assert tcp is not None
    return int(slab[1]) + int(tcp[1]) * _PAGE_KIB


def family(pid: int) -> list[int]:
    """A process and all that it has started."""
    return [pid, *(each.pid for each in psutil.Process(pid).children(recursive=True))]


def tree_cpu_s(pid: int) -> float:
    """Seconds of CPU of a process and of all that it has started, ended or not."""
    own = psutil.Process(pid).cpu_times()
    living = (psutil.Process(each).cpu_times() for each in family(pid))
    return float(
        own.children_user + own.children_system + sum(each.user + each.system for each in living)
    )


class Cpu:
    """Seconds of CPU that processes use from its making on, in user space and in the kernel."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._pids = list(pids)
        self._began = time.monotonic()
        self._user, self._system = self._now()

    def _now(self) -> tuple[float, float]:
        user = system = 0.0
        for pid in self._pids:
            times = psutil.Process(pid).cpu_times()
            user += times.user
            system += times.system
        return user, system

    @property
    def user_s(self) -> float:
        return round(self._now()[0] - self._user, 3)

    @property
    def total_s(self) -> float:
        return round(sum(self._now()) - self._user - self._system, 3)

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._began


def wait_until_idle(pids: Iterable[int]) -> None:
    """Until these processes use less than a twentieth of a core. Raise TimeoutError."""
    pids, end = list(pids), time.monotonic() + _IDLE_SECONDS
    while True:
        cpu = Cpu(pids)
        time.sleep(0.4)
        if cpu.total_s < 0.05 * cpu.elapsed_s:
            return
        if time.monotonic() > end:
            raise TimeoutError("the servers do not come to rest")


class Pace:
    """How evenly this machine works: a fixed piece of work is done again and again."""

    def __init__(self) -> None:
        self._taken_s: list[float] = []

    def sample(self, *, times: int = 25) -> None:
        """On the server's core; some 10 ms each."""
        with kept_on(SERVER_CORE):
            for _ in range(times):
                began = time.perf_counter()
                hashlib.pbkdf2_hmac("sha256", b"work", b"salt", _WORK)
                sum(number * number for number in range(_WORK))
                self._taken_s.append(time.perf_counter() - began)

    @property
    def noise_percent(self) -> float:
        """By how much the slowest tenth took longer than the fastest, at least."""
        return 100 * (percentile(self._taken_s, 90) / percentile(self._taken_s, 10) - 1)


def percentile(values: Iterable[float], percent: float) -> float:
    """The smallest value that so many percent are not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
