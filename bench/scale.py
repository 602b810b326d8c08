"""What a million PCs need, reckoned from the newest figures, and what they do when a site is lost.

`make bench` fills `pages/scale.md` with it. The clients of the simulation wait as the real ones
do, by `agent.core.backoff`; the gateways are queues that serve as many logins a second as was
measured.
"""

from __future__ import annotations

import math
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from agent.connection import PING_S, PONG_S
from agent.core import backoff
from agent.core.failure import Failure, Reason
from bench.report import Entry, number
from server.cluster.database import MAX_CONNECTIONS

PCS = 1_000_000
SIMULATED = 20_000
"""Clients of a simulation; the gateways' speed is scaled down with them."""
PER_GATEWAY = 50_000
SITES = 4
"""One of them may be lost."""
CORES = 8
"""Of a machine."""
DATABASE_CORES = 16
GATEWAY_SESSIONS = 5
"""With PostgreSQL: for reading, writing, heartbeat, pushes and wake-ups."""
BALANCER_PORTS = 28_000
"""Of one address towards one gateway, as Linux is set up."""
CHANGE_DAYS = 90
"""Everybody changes the password once in so many days, in `CHANGE_HOURS` of each."""
CHANGE_HOURS = 8
PEAK = 20
"""So many times the average of changes comes at the worst moment."""
SPREAD_SECONDS = 30
"""Over which a gateway that stops sends its clients away; as in `server/gateway/server.py`."""
UNAVAILABLE_SECONDS = (5, 60)
"""After which a client shall come back while the database is away; as in `session.py` there."""
AWAY_S = 30.0
"""How long the database is away until its standby has taken over."""
TICK_S = 0.1
GIVE_UP_S = 10.0
"""A gateway's limit for TLS and upgrade; a client waits somewhat longer."""
TURNED_AWAY = 0.2
"""What somebody costs who is turned away, in logins."""


@dataclass(frozen=True)
class Figures:
    """Per client, or per core, with TLS in the process and PostgreSQL."""

    memory_kib: float
    kernel_kib: float
    logins_per_s: float
    keepalive_percent: float
    """Of a core, for 10,000 clients."""
    database_ms: float
    """PostgreSQL's CPU for a login."""
    change_ms: float
    """A console's time for a change of a password, nearly all of it CPU."""

    @classmethod
    def of(cls, record: dict[str, Entry]) -> Figures | None:
        """None when the benches that it takes have not run."""
        found = {
            each.what: each.value if name == "gateway_waiting" else each.peer
            for name in ("gateway_waiting", "console_pages")
            if name in record
            for each in record[name].figures
        }
        values = [
            found.get(name)
            for name in (
                "memory per waiting client, TLS",
                "the kernel's memory per client, TLS",
                "logins per CPU second, TLS, PostgreSQL",
                "CPU of keepalive, TLS",
                "PostgreSQL's own CPU per login, TLS, PostgreSQL",
                "a forced change",
            )
        ]
        known = [each for each in values if each is not None]
        return cls(*known) if len(known) == len(values) else None


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
    database_away_s: float = 0.0,
    seed: int = 1,
) -> Outcome:
    """All clients fail as `lost` says, noticing it evenly spread over `noticed` seconds.

    The servers that are left do `logins_per_s` for a million; a client that has not been served
    `GIVE_UP_S` after it asked is turned away, and waits by its backoff. Until the database is back,
    those who are served are told when to come again.
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
            if tick * TICK_S < database_away_s:
                later = Failure(Reason.SHUTTING_DOWN, dice.randint(*UNAVAILABLE_SECONDS))
                wait(client, tick * TICK_S, later)
                continue
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


def fields(figures: Figures) -> dict[str, str]:
    """What stands in the texts of `pages/`, by name."""
    needed = math.ceil(PCS / PER_GATEWAY)
    gateways = math.ceil(needed / (SITES - 1)) * SITES
    left = gateways * (SITES - 1) // SITES
    per_machine = min(CORES - 1, gateways // SITES)
    gateway_gib = PER_GATEWAY * (figures.memory_kib + figures.kernel_kib) / 2**20
    changes = PCS / (CHANGE_DAYS * CHANGE_HOURS * 3600)
    console_cores = math.ceil(PEAK * changes * figures.change_ms / 1000)
    consoles = max(2, math.ceil(console_cores / (CORES // 2)) + 1)
    sessions = gateways * GATEWAY_SESSIONS + consoles * MAX_CONNECTIONS
    rate = gateways * figures.logins_per_s
    database_rate = DATABASE_CORES * 1000 / figures.database_ms
    first = "the gateways' TLS" if left * figures.logins_per_s < database_rate else "PostgreSQL"
    known = {
        "pcs": PCS,
        "per_gateway": PER_GATEWAY,
        "needed": needed,
        "gateways": gateways,
        "gateways_left": left,
        "sites": SITES,
        "per_site": gateways // SITES,
        "machines": math.ceil(gateways / SITES / per_machine) * SITES,
        "cores": CORES,
        "gateway_gib": gateway_gib,
        "site_gib": gateway_gib * gateways / SITES,
        "fleet_gib": gateway_gib * needed,
        "keepalive_percent": figures.keepalive_percent * PER_GATEWAY / 10_000,
        "ping_s": PING_S,
        "frames": PCS / PING_S,
        "logins_per_core": figures.logins_per_s,
        "rate": rate,
        "even_s": PCS / rate,
        "database_ms": figures.database_ms,
        "database_cores": DATABASE_CORES,
        "database_rate": database_rate,
        "cores_at_rate": rate * figures.database_ms / 1000,
        "per_s_in_an_hour": PCS / 3600,
        "cores_in_an_hour": PCS / 3600 * figures.database_ms / 1000,
        "consoles": consoles,
        "console_cores": console_cores,
        "cores_per_console": CORES // 2,
        "changes_per_core": 1000 / figures.change_ms,
        "change_s": figures.change_ms / 1000,
        "change_days": CHANGE_DAYS,
        "change_hours": CHANGE_HOURS,
        "changes": changes,
        "peak": PEAK,
        "peak_changes": PEAK * changes,
        "wake_ups": PEAK * changes * gateways,
        "ten_gateways": 10 * gateways,
        "ten_changes": 10 * PEAK * changes,
        "ten_wake_ups": 100 * PEAK * changes * gateways,
        "gateway_sessions": GATEWAY_SESSIONS,
        "console_sessions": MAX_CONNECTIONS,
        "both_sessions": MAX_CONNECTIONS + GATEWAY_SESSIONS,
        "sessions": sessions,
        "max_connections": math.ceil(sessions * 1.25 / 50) * 50,
        "balancer_ports": BALANCER_PORTS,
        "balancer_addresses": math.ceil(PER_GATEWAY / BALANCER_PORTS),
        "away_s": AWAY_S,
        "quiet_from_s": PONG_S,
        "quiet_to_s": PING_S + PONG_S,
        "client_mib": 10_000 * (figures.memory_kib + figures.kernel_kib) / 2**10,
        "small_percent": figures.keepalive_percent,
        "small_storm_s": 10_000 / figures.logins_per_s,
    }
    return {
        **{name: number(value) for name, value in known.items()},
        "first_limit": first,
        "failover": failover(figures, gateways=gateways),
    }


def failover(figures: Figures, *, gateways: int) -> str:
    """What becomes of all clients after a loss, as a table."""
    left = gateways * (SITES - 1) // SITES
    silent = (PONG_S, PING_S + PONG_S)
    cases = [
        ("all gateways stop in order", _sent_away, (0.0, 1.0), gateways, 0.0),
        ("all connections are reset at once", _lost, (0.0, 1.0), gateways, 0.0),
        ("the same, one site stays away", _lost, (0.0, 1.0), left, 0.0),
        ("the same, and the database is away for a while", _lost, (0.0, 1.0), left, AWAY_S),
        ("the same, all sites but one stay away", _lost, (0.0, 1.0), gateways // SITES, 0.0),
        ("everything falls silent, one site stays away", _lost, silent, left, 0.0),
    ]
    lines = [
        "| | half are back | 99 % | all | peak of logins per second | tries each |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for what, lost, noticed, working, away_s in cases:
        rate = min(working * figures.logins_per_s, DATABASE_CORES * 1000 / figures.database_ms)
        found = come_back(lost=lost, noticed=noticed, logins_per_s=rate, database_away_s=away_s)
        times = (f"{number(each)} s" for each in (found.half_s, found.nearly_all_s, found.all_s))
        peak, tries = number(found.peak_logins_per_s), f"{found.attempts:.2f}"
        lines.append(f"| {what} | {' | '.join(times)} | {peak} | {tries} |")
    return "\n".join(lines)


def _sent_away(dice: random.Random) -> Failure:
    return Failure(Reason.SHUTTING_DOWN, retry_after_s=dice.randint(1, SPREAD_SECONDS))


def _lost(_dice: random.Random) -> Failure:
    return Failure(Reason.CONNECTION_LOST)
