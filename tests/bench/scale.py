"""What a million PCs need, reckoned from the newest figures, and what they do when a site is lost.

`python -m tests.bench.scale` prints it; `make bench` puts it into `docs/scale.md`. The clients of
the simulation wait as the real ones do, by `agent.core.backoff`; the gateways are queues that
serve as many logins a second as was measured.
"""

from __future__ import annotations

import math
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.connection import PING_S, PONG_S
from agent.core import backoff
from agent.core.failure import Failure, Reason
from tests.bench import report
from tests.bench.report import Entry, number

PAGE = report.ROOT / "docs" / "scale.md"
PCS = 1_000_000
SIMULATED = 50_000
"""Clients of a simulation; the gateways' speed is scaled down with them."""
PER_GATEWAY = 50_000
SPARE = 4 / 3
"""So many more gateways than are needed for those who wait: one of four sites may be lost."""
SPREAD_SECONDS = 30
"""Over which a gateway that stops sends its clients away; as in `server/gateway/server.py`."""
TICK_S = 0.1
GIVE_UP_S = 10.0
"""A gateway's limit for TLS and upgrade; a client waits somewhat longer."""
TURNED_AWAY = 0.2
"""What somebody costs who is turned away, in logins."""


@dataclass(frozen=True)
class Figures:
    """Per client, or per core."""

    memory_kib: float
    kernel_kib: float
    logins_per_s: float
    keepalive_percent: float
    """Of a core, for 10,000 clients."""
    database_ms: float
    """PostgreSQL's CPU for a login."""

    @classmethod
    def of(cls, record: dict[str, Entry]) -> Figures:
        """From the bench of waiting clients. Raise KeyError when it has not run."""
        by_name = {each.what: each.value for each in record["gateway_waiting"].figures}
        return cls(
            memory_kib=by_name["memory per waiting client, TLS"],
            kernel_kib=by_name["the kernel's memory per client, TLS"],
            logins_per_s=by_name["logins per CPU second, TLS"],
            keepalive_percent=by_name["CPU of keepalive, TLS"],
            database_ms=by_name["PostgreSQL's own CPU per login, plain, PostgreSQL"],
        )


@dataclass(frozen=True)
class Outcome:
    """How a million clients came back, in seconds from the fault on."""

    half_s: float
    nearly_all_s: float
    all_s: float
    peak_logins_per_s: float
    attempts: float
    """A client."""


def come_back(
    *,
    lost: Callable[[random.Random], Failure],
    noticed: tuple[float, float],
    logins_per_s: float,
    seed: int = 1,
) -> Outcome:
    """All clients fail as `lost` says, noticing it evenly spread over `noticed` seconds.

    The servers that are left do `logins_per_s` for a million; a client that has not been served
    `GIVE_UP_S` after it asked is turned away, and waits by its backoff.
    """
    dice = random.Random(seed)
    capacity = logins_per_s * SIMULATED / PCS * TICK_S
    timed_out = Failure(Reason.TIMED_OUT)
    tries = [0] * SIMULATED
    coming: dict[int, list[int]] = {}

    def wait(client: int, now_s: float, failure: Failure) -> None:
        delay = backoff.delay_s(failure, tries=tries[client], random=dice.random())
        tries[client] += 1
        coming.setdefault(math.ceil((now_s + delay) / TICK_S), []).append(client)

    for client in range(SIMULATED):
        wait(client, dice.uniform(*noticed), lost(dice))
    queue: deque[tuple[int, int]] = deque()
    done: list[int] = []
    tick, credit = 0, 0.0
    while len(done) < SIMULATED:
        arrived = coming.pop(tick, [])
        dice.shuffle(arrived)
        queue.extend((tick, client) for client in arrived)
        credit = min(credit, 0.0) + capacity
        while queue and credit > 0:
            asked, client = queue.popleft()
            if (tick - asked) * TICK_S > GIVE_UP_S:
                credit -= TURNED_AWAY
                wait(client, tick * TICK_S, timed_out)
                continue
            credit -= 1
            done.append(tick)
        tick += 1
    by_second = Counter(int(each * TICK_S) for each in done)
    return Outcome(
        half_s=done[SIMULATED // 2] * TICK_S,
        nearly_all_s=done[SIMULATED * 99 // 100] * TICK_S,
        all_s=done[-1] * TICK_S,
        peak_logins_per_s=max(by_second.values()) * PCS / SIMULATED,
        attempts=sum(tries) / SIMULATED,
    )


def nodes(figures: Figures) -> str:
    """How many of what, as a table."""
    needed = math.ceil(PCS / PER_GATEWAY)
    gateways = math.ceil(needed * SPARE)
    memory_gib = PER_GATEWAY * (figures.memory_kib + figures.kernel_kib) / 2**20
    keepalive = figures.keepalive_percent * PER_GATEWAY / 10_000
    logins = gateways * figures.logins_per_s
    rows = [
        ("gateways, one core each, for those who wait", needed, f"{PER_GATEWAY:,} clients each"),
        ("gateways with a quarter to spare", gateways, "one of four sites may be lost"),
        ("memory of a gateway, GiB", memory_gib, "TLS in the process, the kernel's share included"),
        ("keepalive, % of a gateway's core", keepalive, f"a ping every {number(PING_S)} s"),
        ("keepalive of all, frames per second", PCS / PING_S, "and as many answers"),
        ("logins per second of all gateways", logins, "TLS and SCRAM included"),
        ("a million logins, seconds", PCS / logins, "when they came evenly"),
        (
            "PostgreSQL's cores for that rate",
            logins * figures.database_ms / 1000,
            f"{number(figures.database_ms)} ms of its CPU a login",
        ),
        (
            "PostgreSQL's cores for everybody's arrival within an hour",
            PCS / 3600 * figures.database_ms / 1000,
            f"{number(PCS / 3600)} logins per second",
        ),
    ]
    lines = ["| | | |", "|---|---:|---|"]
    return "\n".join([*lines, *(f"| {what} | {number(n)} | {why} |" for what, n, why in rows)])


def failover(figures: Figures) -> str:
    """What becomes of all clients after a loss, as a table."""
    gateways = math.ceil(PCS / PER_GATEWAY * SPARE)
    left = gateways * 3 // 4
    silent = (PONG_S, PING_S + PONG_S)
    cases = [
        ("all gateways stop in order", _sent_away, (0.0, 1.0), gateways),
        ("all connections are reset at once", _lost, (0.0, 1.0), gateways),
        ("the same, one site of four stays away", _lost, (0.0, 1.0), left),
        ("the same, three sites of four stay away", _lost, (0.0, 1.0), gateways // 4),
        ("everything falls silent, one site stays away", _lost, silent, left),
    ]
    lines = [
        "| | half are back | 99 % | all | peak of logins per second | tries each |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for what, lost, noticed, working in cases:
        rate = working * figures.logins_per_s
        found = come_back(lost=lost, noticed=noticed, logins_per_s=rate)
        times = (f"{number(each)} s" for each in (found.half_s, found.nearly_all_s, found.all_s))
        peak, tries = number(found.peak_logins_per_s), f"{found.attempts:.2f}"
        lines.append(f"| {what} | {' | '.join(times)} | {peak} | {tries} |")
    return "\n".join(lines)


def _sent_away(dice: random.Random) -> Failure:
    return Failure(Reason.SHUTTING_DOWN, retry_after_s=dice.randint(1, SPREAD_SECONDS))


def _lost(_dice: random.Random) -> Failure:
    return Failure(Reason.CONNECTION_LOST)


def publish(record: dict[str, Entry], page: Path = PAGE) -> None:
    """Renew the tables of `docs/scale.md`."""
    figures = Figures.of(record)
    text = page.read_text(encoding="utf-8")
    for name, made in (("nodes", nodes(figures)), ("failover", failover(figures))):
        before, rest = text.split(f"<!-- {name} -->\n")
        text = f"{before}<!-- {name} -->\n{made}\n<!-- end of {name} -->"
        text += rest.split(f"<!-- end of {name} -->")[1]
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    newest = Figures.of(report.read_record())
    print(nodes(newest), failover(newest), sep="\n\n")
