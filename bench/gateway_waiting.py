"""The gateway: clients log in, wait, lose their connections and come back.

10,000 clients log in at a server that has just started, wait, and come back twice after all
connections were cut. The server has one core, the clients another. One core of clients cannot
always keep one core of server busy, so logins are counted per CPU second that the server spent.
200 logins are under way at a time: the fewer there are, the fewer share a round trip to the
database, and the more each costs. Memory is the server's private memory (PSS) above that before
the first client. Keepalive is the CPU of the server while each client sends a ping every 20 s. On
PostgreSQL, the CPU of the database's processes is counted separately. The baseline is a bare
`websockets` server that sends the same frames and checks nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from bench import machine, stage
from bench.load import PING_S
from bench.program import Program
from bench.report import Figure, Size

BASELINE = "bare websockets"
STORMS = 3
SETTLE_S = 3


@dataclass(frozen=True)
class Waiting:
    """What was measured of one server."""

    memory_kib: float
    logins_per_cpu_s: list[float]
    keepalive_percent: float


def run(size: Size) -> list[Figure]:
    with stage.bare() as server:
        bare = _measure(size, server)
    with stage.database("SQLite", size) as database, stage.server(database) as server:
        own = _measure(size, server)
    with stage.database("PostgreSQL", size) as database, stage.server(database) as server:
        before_s = machine.cpu_s(stage.postgres().pid, children=True)
        with_postgres = _measure(size, server)
        postgres_s = machine.cpu_s(stage.postgres().pid, children=True) - before_s
    logins = size.clients * len(with_postgres.logins_per_cpu_s)
    rate = "logins per CPU second"

    def figure(
        what: str, unit: str, of: Callable[[Waiting], list[float]], *, must: float | None = None
    ) -> Figure:
        more = what == rate
        return Figure(
            what=what, unit=unit, values=of(own), baseline=of(bare), must=must, more_is_better=more
        )

    return [
        figure("memory of a waiting client", "KiB", lambda each: [each.memory_kib], must=9),
        figure(rate, "", lambda each: each.logins_per_cpu_s, must=1500),
        figure("keepalive", "% of a core", lambda each: [each.keepalive_percent], must=4),
        Figure(
            what=f"{rate}, PostgreSQL",
            values=with_postgres.logins_per_cpu_s,
            baseline=bare.logins_per_cpu_s,
        ),
        Figure(
            what="PostgreSQL's own CPU for a login", unit="ms", values=[1000 * postgres_s / logins]
        ),
    ]


def _measure(size: Size, server: Program) -> Waiting:
    with stage.clients(server.port("gateway"), count=size.clients) as clients:
        clients.ask("state")  # returns once the process has started
        memory = machine.private_kib(server.pid)
        storms = [_storm(clients, server)]
        time.sleep(size.pick(SETTLE_S, 0))  # the server's last writes
        memory = machine.private_kib(server.pid) - memory
        before_s, seconds = machine.cpu_s(server.pid), size.pick(PING_S, 1)
        time.sleep(seconds)  # the measurement: every client pings once
        keepalive_s = machine.cpu_s(server.pid) - before_s
        while len(storms) < size.pick(STORMS, 2):
            clients.ask("drop")
            machine.wait_until_idle(server.pid)
            storms.append(_storm(clients, server))
        waiting, endings = clients.ask("state")
        if waiting != size.clients:
            raise RuntimeError(f"{waiting} of {size.clients} wait; ended: {endings}")
    return Waiting(
        memory_kib=max(0, memory) / size.clients,
        logins_per_cpu_s=[size.clients / cpu_s for cpu_s in storms],
        keepalive_percent=100 * keepalive_s / seconds,
    )


def _storm(clients: Program, server: Program) -> float:
    """Log in all clients; return the seconds of CPU that the server spent."""
    before_s = machine.cpu_s(server.pid)
    clients.ask("log_in")
    return max(0.01, machine.cpu_s(server.pid) - before_s)
