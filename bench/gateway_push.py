"""The gateway: pushing a changed password.

10,000 clients wait. The passwords of 100 others, who wait as well, are changed one after the other
by the console's own code, and it is measured how long after the end of the commit the pushed
password is in the client's hands: while nothing else happens, while all others come back at once
(a storm: 10,000 logins, after their connections broke), and while they come and go (churn: 100 a
second). On PostgreSQL the change is made by another node than the client's gateway, on SQLite by
the server itself. In the storm, clients and database compete for the one core that is not the
server's, which is part of what is measured there. The longest stall is how late a timer of
2 ms on the gateway's loop was at most. Baseline and peer pass on a message of the same size to
the same clients when they are told to; the peer's connections are encrypted.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

from bench import machine, peers, people, stage
from bench.bare import PUSH
from bench.load import Load, LoadError, Spec
from bench.report import Figure, Size
from bench.seed import CROWD

BASELINE = "bare websockets"
PEER = "mosquitto, TLS"
PHASES = ("idle", "storm", "churn")
CHURN_PER_SECOND = 100
PAUSE_SECONDS = 0.05
WAIT_SECONDS = 30

Push = Callable[[int], int]
"""Pushes something to the probe with this number; answers when it was to go, in monotonic ns."""


@dataclass
class Phase:
    """Latencies, and how long the loop stood still, in ms."""

    latencies: list[float] = field(default_factory=list)
    stall_ms: float = 0.0

    def percentile(self, percent: float) -> float:
        return machine.percentile(self.latencies, percent)


def run(size: Size) -> list[Figure]:
    bare, peer = _bare(size), _peer(size)
    figures: list[Figure] = []
    engines: tuple[stage.Engine, ...] = ("PostgreSQL",) if size.short else ("PostgreSQL", "SQLite")
    for engine in engines:
        own, crowd_ms = _own(engine, size)
        nodes = "two nodes, PostgreSQL" if engine == "PostgreSQL" else "one node, SQLite"
        for phase in PHASES:
            judged = phase == "idle" and engine == "PostgreSQL"
            for percent, targets in ((50, (1.0, 2.0)), (99, (5.0, 10.0))):
                ambition, must = targets if judged else (None, None)
                figures.append(
                    Figure(
                        what=f"commit to client, p{percent}, {phase}, {nodes}",
                        value=own[phase].percentile(percent),
                        unit="ms",
                        baseline=bare[phase].percentile(percent),
                        peer=peer[phase].percentile(percent),
                        ambition=ambition,
                        must=must,
                        headline=judged,
                    )
                )
        figures += [
            Figure(
                what=f"longest stall of the loop, {phase}, {nodes}",
                value=own[phase].stall_ms,
                unit="ms",
                baseline=bare[phase].stall_ms,
                ambition=50,
                must=100,
                headline=phase == "churn" and engine == "PostgreSQL",
            )
            for phase in PHASES
        ]
        count = stage.People.of(size).crowd
        figures.append(
            Figure(
                what=f"commit to the last of one user's {count:,} PCs, {nodes}",
                value=crowd_ms,
                unit="ms",
            )
        )
    return figures


def _probes(size: Size) -> range:
    """Their numbers; behind those of the clients that come and go."""
    return range(size.clients + 1, size.clients + 1 + 4 * size.pick(100, 10))


def _own(engine: stage.Engine, size: Size) -> tuple[dict[str, Phase], float]:
    with ExitStack() as stack:
        database = stack.enter_context(stage.database(engine, size))
        server = stack.enter_context(stage.server(database, watched=True))
        port = server.port()
        changer = server
        if engine == "PostgreSQL":
            changer = stack.enter_context(
                stage.running(
                    "bench.node",
                    "change",
                    settings=database.settings,
                    core=machine.LOAD_CORE,
                )
            )
            changer.line("ready")
        numbers = _probes(size)
        probe = Spec(port=port, first=numbers[0], count=len(numbers))
        others = Spec(port=port, first=1, count=size.clients)
        phases = _measure(
            size,
            probe,
            others,
            push=lambda number: int(_change(changer, people.username(number))),
            watched=server,
        )
        people_there = stage.People.of(size)
        crowd = Spec(port=port, first=people_there.users + 1, count=people_there.crowd, user=CROWD)
        with Load(crowd) as load:
            load.call("log_in")
            committed = _change(changer, CROWD)
            load.call("wait_for", count=crowd.count, seconds=WAIT_SECONDS)
            last = {each.number: each.at_ns for each in load.call("take")}
            if len(last) != crowd.count:
                raise LoadError(f"only {len(last)} of {crowd.count} PCs got the change")
        return phases, (max(last.values()) - committed) / 1e6


def _change(changer: stage.Program, username: str) -> int:
    return int(changer.ask("change", username=username)["after_ns"])


def _bare(size: Size) -> dict[str, Phase]:
    with stage.running("bench.bare") as server:
        port = server.port()
        numbers = _probes(size)
        probe = Spec(port=port, first=numbers[0], count=len(numbers), kind="bare")
        others = Spec(port=port, first=1, count=size.clients, kind="bare")
        return _measure(
            size,
            probe,
            others,
            push=lambda number: int(server.ask("push", number=number)),
            watched=server,
        )


def _peer(size: Size) -> dict[str, Phase]:
    numbers = _probes(size)
    with peers.mosquitto(range(1, numbers[-1] + 2), tls=True) as (_, port):
        probe = Spec(port=port, first=numbers[0], count=len(numbers), kind="mqtt", tls=True)
        others = Spec(port=port, first=1, count=size.clients, kind="mqtt", tls=True)
        publisher = Spec(port=port, first=numbers[-1] + 1, count=1, kind="mqtt", tls=True)
        with Load(publisher) as load:
            load.call("log_in")
            return _measure(
                size,
                probe,
                others,
                push=lambda number: int(load.call("publish", topic=f"pc/{number}", payload=PUSH)),
            )


def _measure(
    size: Size, probe: Spec, others: Spec, *, push: Push, watched: stage.Program | None = None
) -> dict[str, Phase]:
    """`watched` tells of its loop. The probes come first."""
    phases = {name: Phase() for name in PHASES}
    with Load(probe) as probes, Load(others, nice=10) as bulk:
        probes.call("log_in")
        bulk.call("log_in")
        numbers = iter(range(probe.first, probe.first + probe.count))
        enough = size.pick(100, 10)

        def measure(name: str, goes_on: Callable[[], bool]) -> None:
            some = _while(goes_on, itertools.islice(numbers, enough))
            sent = [(number, push(number)) for number in some]
            probes.call("wait_for", count=len(sent), seconds=WAIT_SECONDS)
            came = {each.number: each.at_ns for each in probes.call("take")}
            if len(came) < len(sent):
                raise LoadError(f"{name}: only {len(came)} of {len(sent)} pushes came")
            phases[name].latencies = [max(0, came[n] - began) / 1e6 for n, began in sent]

        def watch(name: str, goes_on: Callable[[], bool]) -> None:
            if watched is not None:
                watched.ask("watch")
            measure(name, goes_on)
            if watched is not None:
                phases[name].stall_ms = watched.ask("report")["stall_ms"]

        watch("idle", lambda: True)
        bulk.call("drop")
        with bulk.meanwhile("log_in"):
            watch("storm", bulk.is_busy)
        with bulk.meanwhile("churn", per_s=CHURN_PER_SECOND, seconds=size.pick(8, 1)):
            watch("churn", bulk.is_busy)
    return phases


def _while(goes_on: Callable[[], bool], numbers: Iterator[int]) -> Iterator[int]:
    """The numbers, with a pause between them, as long as something goes on."""
    for number in numbers:
        yield number
        time.sleep(PAUSE_SECONDS)
        if not goes_on():
            return
