"""Measure the gateway while clients log in, wait, lose their connections and come back.

10,000 clients log in at a server that has just started, wait, and come back twice after all
connections were cut. The server has one core, the clients another. The clients' core cannot always
keep the server's core busy, so logins are counted per CPU second of the server. 200 logins are
under way at a time: with fewer, fewer share a round trip to the database, and each costs more.
Memory is the growth of the server's private memory (PSS) since before the first client. Keepalive
is the server's CPU time while each client sends a ping every 20 s. On PostgreSQL, the CPU time of
the database's processes is counted separately. The baseline is a bare `websockets` server that
sends the same frames and checks nothing.
"""

from __future__ import annotations

import time

from bench import machine, stage
from bench.load import PING_S
from bench.program import Ask
from bench.report import Figure, Size

BASELINE = "bare websockets"
STORMS = 3
SETTLE_S = 3
LOGINS = "logins per CPU second"
LIMITS = {
    "memory of a waiting client, KiB": {"at_most": 9.0},
    LOGINS: {"at_least": 1500.0},
    "keepalive, % of a core": {"at_most": 4.0},
}


def run(size: Size) -> list[Figure]:
    with stage.bare() as ask_baseline:
        bare = _measure(size, *ask_baseline("start"))
    with stage.database("SQLite", size) as installation, stage.server(installation) as server:
        own = _measure(size, server.gateway, server.process.pid)
    with stage.database("PostgreSQL", size) as installation, stage.server(installation) as server:
        before_s = machine.cpu_s(stage.postgres().pid, children=True)
        logins = _measure(size, server.gateway, server.process.pid)[LOGINS]
        postgres_s = machine.cpu_s(stage.postgres().pid, children=True) - before_s
    own_cpu_ms = 1000 * postgres_s / (size.clients * len(logins))
    return [
        *(Figure(what, own[what], bare[what], **limit) for what, limit in LIMITS.items()),
        Figure(f"{LOGINS}, PostgreSQL", logins, bare[LOGINS]),
        Figure("PostgreSQL's own CPU for a login, ms", [own_cpu_ms]),
    ]


def _measure(size: Size, port: int, pid: int) -> dict[str, list[float]]:
    """Measure one server; return the figures by their names in LIMITS."""
    with stage.clients(port, count=size.clients) as ask_clients:
        ask_clients("state")  # returns once the process has started
        memory = machine.private_kib(pid)
        storms = [_storm(ask_clients, pid)]
        time.sleep(size.pick(SETTLE_S, 0))  # let the server's last writes end
        memory = machine.private_kib(pid) - memory
        before_s, seconds = machine.cpu_s(pid), size.pick(PING_S, 1)
        time.sleep(seconds)  # the measurement: every client pings once
        keepalive_s = machine.cpu_s(pid) - before_s
        while len(storms) < size.pick(STORMS, 2):
            ask_clients("drop")
            machine.wait_until_idle(pid)
            storms.append(_storm(ask_clients, pid))
        waiting, endings = ask_clients("state")
        if waiting != size.clients:
            raise RuntimeError(f"{waiting} of {size.clients} wait; ended: {endings}")
    measured = (
        [max(0, memory) / size.clients],
        [size.clients / cpu_s for cpu_s in storms],
        [100 * keepalive_s / seconds],
    )
    return dict(zip(LIMITS, measured, strict=True))


def _storm(ask_clients: Ask, pid: int) -> float:
    """Log in all clients; return the CPU seconds that the server spent."""
    before_s = machine.cpu_s(pid)
    ask_clients("log_in")
    return max(0.01, machine.cpu_s(pid) - before_s)
