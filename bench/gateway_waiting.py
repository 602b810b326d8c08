"""The gateway: coming, waiting, being sent away.

10,000 clients log in on a server that has just started (real SCRAM, SQLite), wait, each pinging
every 20 s, break off and come back, twice, and are sent away when the server stops. The server has
one core, the clients another; since one core of clients cannot always keep a core of the server
busy, the rate of logins is given by the CPU time that the server spent on them: it is the median
of the three times that all came, 200 at a time. The fewer come at a time, the fewer share a round
trip to the database, and the more each costs. Memory is the server's private memory (PSS) over
that before the first client; what the kernel holds is for both ends, which share this machine. The
broadcast is the time from the signal to the last client's receipt of its `bye`, over which the
clients, too, use CPU. Baseline: a bare `websockets` server on asyncio, no compression, with the
same frames and no checks. Peer: mosquitto, QoS 1, MQTT 3.1.1, passwords by its own file. nginx and
haproxy are set up as [operations.md](operations.md) has them; proxy and server share the core, and
both are counted. On PostgreSQL the logins' rate is to the CPU of the server alone; that of the
database stands below it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from bench import machine, peers, stage
from bench.load import PING_SECONDS, Load, LoadError, Spec
from bench.report import Figure, Size, median
from tests.support.reverse_proxies import PROXIES

BASELINE = "bare websockets"
PEER = "mosquitto"
STORMS = 3
SETTLE_SECONDS = 3


@dataclass(frozen=True)
class Waiting:
    """What was measured of one server."""

    memory_kib: float
    kernel_kib: float
    per_cpu_s: list[float]
    """Logins, each time that all came."""
    per_s: list[float]
    """The same by the clock."""
    idle_percent: float
    idle_user_percent: float
    broadcast_ms: float


def run(size: Size) -> list[Figure]:
    figures: list[Figure] = []
    for tls in (True,) if size.short else (False, True):
        figures += _compare(_own(size, tls=tls), _bare(size, tls=tls), _peer(size, tls=tls), tls)
    for name in PROXIES[:1] if size.short else PROXIES:
        figures += _figures(_behind(name, size), f"TLS in {name}")
    for tls in (True,) if size.short else (False, True):
        figures += _on_postgresql(size, tls=tls)
    return figures


def _compare(own: Waiting, bare: Waiting, peer: Waiting, tls: bool) -> list[Figure]:
    return _figures(own, "TLS" if tls else "plain", bare, peer, judged=True)


def _figures(
    own: Waiting,
    how: str,
    bare: Waiting | None = None,
    peer: Waiting | None = None,
    *,
    judged: bool = False,
) -> list[Figure]:
    tls = how.startswith("TLS")

    def figure(
        what: str,
        unit: str,
        of: Callable[[Waiting], float | list[float]],
        targets: tuple[float, float] | None = None,
        *,
        more_is_better: bool = False,
    ) -> Figure:
        ambition, must = targets if targets and judged else (None, None)
        return Figure.of(
            of(own),
            what=f"{what}, {how}",
            unit=unit,
            baseline=median(of(bare)) if bare else None,
            peer=median(of(peer)) if peer else None,
            ambition=ambition,
            must=must,
            more_is_better=more_is_better,
            headline=must is not None,
        )

    memory = (32.0, 40.0) if tls else (8.0, 12.0)
    logins = (1_200.0, 800.0) if tls else (6_000.0, 2_000.0)
    return [
        figure("memory per waiting client", "KiB", lambda each: each.memory_kib, memory),
        figure("the kernel's memory per client", "KiB", lambda each: each.kernel_kib),
        figure(
            "logins per CPU second",
            "",
            lambda each: each.per_cpu_s,
            logins,
            more_is_better=True,
        ),
        figure(
            "logins per second by the clock",
            "",
            lambda each: each.per_s,
            more_is_better=True,
        ),
        figure("CPU of keepalive", "% of a core", lambda each: each.idle_percent, (2, 4)),
        figure("of that in user space", "% of a core", lambda each: each.idle_user_percent),
        figure("broadcast to all", "ms", lambda each: each.broadcast_ms, (200, 300)),
    ]


def _own(size: Size, *, tls: bool) -> Waiting:
    with stage.database("SQLite", size) as database, stage.server(database, tls=tls) as server:
        spec = Spec(port=server.port(), first=1, count=size.clients, tls=tls)
        return _measure(size, spec, [server.pid], lambda _: _stop(server))


def _on_postgresql(size: Size, *, tls: bool) -> list[Figure]:
    """Whose CPU is not the server's."""
    how = "TLS, PostgreSQL" if tls else "plain, PostgreSQL"
    with (
        stage.database("PostgreSQL", size) as database,
        stage.server(database, tls=tls) as server,
    ):
        spec = Spec(port=server.port(), first=1, count=size.clients, tls=tls)
        before_s = machine.tree_cpu_s(stage.postgres().pid)
        waiting = _measure(size, spec, [server.pid], lambda _: _stop(server), idle_s=0)
        database_s = machine.tree_cpu_s(stage.postgres().pid) - before_s
        logins = [each for each in _figures(waiting, how) if "logins" in each.what]
        return [
            *logins,
            Figure(
                what=f"PostgreSQL's own CPU per login, {how}",
                value=1000 * database_s / spec.count / len(waiting.per_s),
                unit="ms",
            ),
        ]


def _behind(name: str, size: Size) -> Waiting:
    count = min(size.clients, machine.raise_file_limit() // 2 - 200)
    with (
        stage.database("SQLite", size) as database,
        stage.server(database, TRUSTED_PROXIES="127.0.0.0/8") as server,
        peers.proxy(name, server.port(), connections=count) as (pids, port),
    ):
        spec = Spec(port=port, first=1, count=count, tls=True)
        return _measure(size, spec, [server.pid, *pids], lambda _: _stop(server))


def _bare(size: Size, *, tls: bool) -> Waiting:
    certificate = [str(stage.certificate())] if tls else []
    with stage.running("bench.bare", *certificate) as server:
        spec = Spec(port=server.port(), first=1, count=size.clients, tls=tls, kind="bare")
        return _measure(size, spec, [server.pid], lambda _: int(server.ask("broadcast")))


def _peer(size: Size, *, tls: bool) -> Waiting:
    with peers.mosquitto(range(1, size.clients + 1), tls=tls) as (pid, port):
        spec = Spec(port=port, first=1, count=size.clients, tls=tls, kind="mqtt")
        bye = b'{"type":"bye","reason":"shutting_down","retry_after_s":10}'
        return _measure(
            size, spec, [pid], lambda load: int(load.call("publish", topic="all", payload=bye))
        )


def _stop(server: stage.Program) -> int:
    now = time.monotonic_ns()
    server.stop()
    return now


def _measure(
    size: Size,
    spec: Spec,
    pids: list[int],
    broadcast: Callable[[Load], int],
    *,
    idle_s: float = PING_SECONDS,
) -> Waiting:
    """`broadcast` says something to all; its answer is when that was, in monotonic ns."""
    with Load(spec) as load:
        load.call("state")  # it is there
        memory, kernel = machine.private_kib(pids), machine.kernel_kib()
        storms = [_storm(load, pids)]
        time.sleep(size.pick(SETTLE_SECONDS, 0))
        memory, kernel = machine.private_kib(pids) - memory, machine.kernel_kib() - kernel
        idle = machine.Cpu(pids)
        time.sleep(min(idle_s, 0.5) if size.short else idle_s)
        idle_percent = 100 * idle.total_s / idle.elapsed_s
        idle_user_percent = 100 * idle.user_s / idle.elapsed_s
        while len(storms) < size.pick(STORMS, 2):
            load.call("drop")
            machine.wait_until_idle(pids)
            storms.append(_storm(load, pids))
        waiting, endings = load.call("state")
        if waiting != spec.count:
            raise LoadError(f"{waiting} of {spec.count} wait; ended: {endings}")
        load.call("take")
        began = broadcast(load)
        load.call("wait_for", count=spec.count, seconds=30)
        last = {each.number: each.at_ns for each in load.call("take")}
        if len(last) != spec.count:
            raise LoadError(f"only {len(last)} of {spec.count} heard the broadcast")
    return Waiting(
        memory_kib=memory / spec.count,
        kernel_kib=max(0.0, kernel) / spec.count,
        per_cpu_s=[spec.count / cpu_s for _, cpu_s in storms],
        per_s=[spec.count / login_s for login_s, _ in storms],
        idle_percent=idle_percent,
        idle_user_percent=idle_user_percent,
        broadcast_ms=(max(last.values()) - began) / 1e6,
    )


def _storm(load: Load, pids: list[int]) -> tuple[float, float]:
    """All come at once: how long it took, and the servers' CPU, in seconds."""
    cpu = machine.Cpu(pids)
    return load.call("log_in"), cpu.total_s
