"""The gateway: from the commit of a changed password to the client.

10,000 clients wait at a gateway on PostgreSQL. Another process, as a console on another machine,
changes the passwords of 100 of them, one after the other. Measured is the time from the end of
the commit until the message is in the client's hands. The baseline sends a message of the same
size to the same clients by command.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from bench import people, stage
from bench.machine import percentile
from bench.program import Program
from bench.report import Figure, Size

BASELINE = "bare websockets"
PAUSE_S = 0.05
WAIT_S = 30


def run(size: Size) -> list[Figure]:
    with stage.bare() as server:
        bare = _measure(size, server, lambda number: server.ask("push", number=number))
    with (
        stage.database("PostgreSQL", size) as database,
        stage.server(database) as server,
        stage.changer(database) as changer,
    ):
        own = _measure(size, server, lambda n: changer.ask("change", username=people.username(n)))
    return [
        Figure(
            what=f"commit to client, p{percent}",
            unit="ms",
            values=[percentile(own, percent)],
            baseline=[percentile(bare, percent)],
            must=must,
        )
        for percent, must in ((50, 2), (99, 10))
    ]


def _measure(size: Size, server: Program, push: Callable[[int], int]) -> list[float]:
    """Return the latencies in ms. `push` returns when it pushed (monotonic ns)."""
    with stage.clients(server.port("gateway"), count=size.clients) as clients:
        clients.ask("log_in")
        sent = {}
        for number in range(1, size.pick(100, 10) + 1):
            sent[number] = push(number)
            time.sleep(PAUSE_S)  # each from rest
        received = dict(clients.ask("take", count=len(sent), seconds=WAIT_S))
    if received.keys() != sent.keys():
        raise RuntimeError(f"only {len(received)} of {len(sent)} pushes arrived")
    return [max(0, received[number] - at) / 1e6 for number, at in sent.items()]
