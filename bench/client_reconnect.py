"""From the network being there to standby.

The connection is made anew, as from the menu, at a real server over TLS: connecting, TLS, upgrade,
SCRAM. The keys of the last login are kept in memory, so that no reconnect derives them: the
baseline is what one key derivation takes, which is what each PC of an office would spend whenever
the network comes back. After a resume, an unlock or a new address the client waits 0.1 to 1.1 s
more on purpose, so that not all come at once; that is not in here.
"""

from __future__ import annotations

import asyncio
from statistics import median

import psutil

from agent.control import ask
from bench import desk
from bench.client_push import derivation_ms
from bench.machine import percentile
from bench.report import Figure, Size

BASELINE = "one key derivation"


def run(size: Size) -> list[Figure]:
    """Reconnect again and again."""
    floor, times = derivation_ms(), size.pick(200, 5)
    taken = []
    with desk.linux_desk() as linux:
        pid, _ = linux.start()
        linux.wait_for_standby()
        process = psutil.Process(pid)
        before = process.cpu_times()
        for _ in range(times):
            since = linux.log.length
            asyncio.run(ask(linux.client.paths, {"command": "reconnect"}, timeout_s=10))
            began = linux.log.wait_for("-> connecting", since=since).at
            taken.append(1000 * (linux.wait_for_standby(since=since).at - began))
        after = process.cpu_times()
    cpu = 1000 * (after.user + after.system - before.user - before.system) / times
    return [
        Figure(
            what="to standby, median",
            value=median(taken),
            unit="ms",
            baseline=floor,
            headline=True,
        ),
        Figure(what="to standby, p99", value=percentile(taken, 99), unit="ms", baseline=floor),
        Figure(what="CPU of the client", value=cpu, unit="ms", baseline=floor),
    ]
