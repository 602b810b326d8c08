"""Measure a push: from the commit of a changed password to the client.

10,000 clients wait at a gateway on PostgreSQL. Another process, like a console on another machine,
changes the passwords of 100 users, one after the other. The time is measured from the end of the
commit until the client has received the message. The baseline sends a message of the same size to
the same clients on command.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from bench import people, stage
from bench.machine import percentile
from bench.program import running
from bench.report import Figure, Size
from server import config
from server.commands import serve
from tests.support.pbkdf2 import derived_once

BASELINE = "bare websockets"
PAUSE_S = 0.05
WAIT_S = 30


def run(size: Size) -> list[Figure]:
    with stage.bare() as ask_baseline:
        port, _ = ask_baseline("start")
        bare = _measure(size, port, lambda number: ask_baseline("push", number))
    with (
        stage.database("PostgreSQL", size) as installation,
        stage.server(installation) as server,
        running(Console, installation.environment()) as ask_console,
    ):
        own = _measure(size, server.gateway, lambda number: ask_console("change", number))
    return [
        Figure(
            f"commit to client, p{percent}, ms",
            [percentile(own, percent)],
            [percentile(bare, percent)],
            at_most=must,
        )
        for percent, must in ((50, 2), (99, 10))
    ]


def _measure(size: Size, port: int, push: Callable[[int], int]) -> list[float]:
    """Return the latencies in ms. `push` returns the time of the push (monotonic ns)."""
    with stage.clients(port, count=size.clients) as ask_clients:
        ask_clients("log_in")
        sent = {}
        for number in range(1, size.pick(100, 10) + 1):
            sent[number] = push(number)
            time.sleep(PAUSE_S)  # let the gateway become idle before each push
        received = dict(ask_clients("take", len(sent), WAIT_S))
    if received.keys() != sent.keys():
        raise RuntimeError(f"only {len(received)} of {len(sent)} pushes arrived")
    return [max(0, received[number] - at) / 1e6 for number, at in sent.items()]


class Console:
    """A console in its own process, which derives each key only once."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._derived = derived_once()
        self._derived.__enter__()
        people.keys()
        serve.prepare(config.load(environ))

    async def change(self, number: int) -> int:
        """Change and push a user's password. Return the time of the commit (monotonic ns)."""
        return await asyncio.to_thread(_change, people.username(number))


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
