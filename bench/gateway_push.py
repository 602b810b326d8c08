"""The gateway: from the commit of a changed password to the client.

10,000 clients wait at a gateway on PostgreSQL. Another process, as a console on another machine,
changes the passwords of 100 of them, one after the other. Measured is the time from the end of
the commit until the message is in the client's hands. The baseline sends a message of the same
size to the same clients by command.

`python -m bench.gateway_push` is that console: `change(username=…)` changes the user's password,
pushes it to all of the user's PCs, and returns when it was committed (monotonic ns).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from bench import people, stage
from bench.machine import percentile
from bench.program import Program, obey
from bench.report import Figure, Size
from server import config
from server.commands import serve
from tests.support.pbkdf2 import derived_once

BASELINE = "bare websockets"
PAUSE_S = 0.05
WAIT_S = 30


def run(size: Size) -> list[Figure]:
    with stage.bare() as server:
        bare = _measure(size, server, lambda number: server.ask("push", number=number))
    with (
        stage.database("PostgreSQL", size) as settings,
        stage.server(settings) as server,
        stage.changer(settings) as changer,
    ):
        own = _measure(size, server, lambda n: changer.ask("change", username=people.username(n)))
    return [
        Figure(
            f"commit to client, p{percent}, ms",
            [percentile(own, percent)],
            [percentile(bare, percent)],
            at_most=must,
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


def _change(username: str) -> int:
    from django.db import transaction

    from server.console import passwords
    from server.console.models import User

    user, committed_ns = User.objects.get(username=username), []
    with transaction.atomic():
        transaction.on_commit(lambda: committed_ns.append(time.monotonic_ns()))
        devices = list(user.devices.all())
        passwords.change_own(user, new_password="N3w-Passw0rd", push_to=devices)
    return committed_ns[-1]


if __name__ == "__main__":
    with derived_once():
        people.keys()
        serve.prepare(config.load())
        asyncio.run(obey(change=lambda username: asyncio.to_thread(_change, username)))
