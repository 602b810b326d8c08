"""Clients that share nothing with those of the benches: the `websockets` client and `scramp`.

    python -m bench.outside ws://127.0.0.1:8081 --clients 10000 --server PID

logs in the users that `bench.seed` has made, from one address, and says how long that took
and who was refused; then it waits, and says how many messages came and how many connections ended;
and what it cost the server's process. For `wss://` it takes any certificate.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import sys
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from scramp import ScramClient
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

from bench import machine, people
from tests.support.pbkdf2 import derived_once


@dataclass
class Seen:
    """What happened to all clients."""

    arrived_s: float = 0.0
    """Until all had come, or been refused."""
    arrived_cpu_s: float = 0.0
    """The server's, over the same time."""
    waiting_percent: float = 0.0
    """Of a core, of the server's, while they waited."""
    memory_kib: float = 0.0
    """Of the server, more than before they came."""
    login_ms: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)


async def measure(
    url: str, *, clients: int, at_once: int, seconds: float, server: Sequence[int] = ()
) -> Seen:
    """Log in users 1 to `clients`, so many at a time; then let them wait. `server` is its pids."""
    seen, gate = Seen(), asyncio.Semaphore(at_once)
    arrived, over = asyncio.Barrier(clients + 1), asyncio.Event()
    context = None
    if url.startswith("wss:"):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    async def live(number: int) -> None:
        try:
            async with gate:
                began = time.perf_counter()
                connection = await connect(
                    f"{url.rstrip('/')}/gateway",
                    subprotocols=[Subprotocol("coconowork.v1")],
                    compression=None,
                    ping_interval=20,
                    proxy=None,
                    ssl=context,
                    open_timeout=60,
                )
                await _log_in(connection, number)
                seen.login_ms.append((time.perf_counter() - began) * 1000)
        except (OSError, InvalidHandshake, ConnectionClosed, Refused) as exc:
            seen.refused[str(exc) or type(exc).__name__] += 1
        else:
            await _wait(connection)
            return
        await arrived.wait()

    async def _wait(connection: ClientConnection) -> None:
        await arrived.wait()
        listening = asyncio.create_task(_listen(connection, seen))
        await over.wait()
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
        await connection.close()

    await _listens(url)
    async with asyncio.TaskGroup() as group:
        start, cpu = time.perf_counter(), machine.Cpu(server)
        before_kib = machine.private_kib(server)
        for number in range(1, clients + 1):
            group.create_task(live(number))
        await arrived.wait()
        seen.arrived_s, seen.arrived_cpu_s = time.perf_counter() - start, cpu.total_s
        cpu = machine.Cpu(server)
        await asyncio.sleep(seconds)
        seen.waiting_percent = 100 * cpu.total_s / cpu.elapsed_s
        seen.memory_kib = machine.private_kib(server) - before_kib
        over.set()
    return seen


async def _listens(url: str) -> None:
    """The server may just be starting. Raise TimeoutError when it does not."""
    place = urlsplit(url)
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection(place.hostname, place.port)
            except OSError:
                await asyncio.sleep(0.2)
            else:
                writer.close()
                return


class Refused(Exception):
    """The server does not let this client in."""


async def _log_in(connection: ClientConnection, number: int) -> None:
    """SCRAM, both ways."""
    scram = ScramClient(["SCRAM-SHA-256"], people.username(number), people.PASSWORD)
    device = {
        "id": people.device_id(number),
        "public_key": b64encode(people.public_key(number)).decode(),
        "name": f"PC-{number}",
        "os": "Linux",
        "version": "1.0.0",
    }
    first = {"type": "hello", "scram": scram.get_client_first(), "device": device}
    challenge = await _ask(connection, first, "challenge")
    scram.set_server_first(challenge)
    welcome = await _ask(
        connection, {"type": "proof", "scram": scram.get_client_final()}, "welcome"
    )
    scram.set_server_final(welcome)


async def _ask(connection: ClientConnection, message: Mapping[str, object], answer: str) -> str:
    await connection.send(json.dumps(message))
    found = json.loads(await connection.recv())
    if found["type"] != answer:
        raise Refused(f"{found['type']} {found.get('reason')}")
    return str(found["scram"])


async def _listen(connection: ClientConnection, seen: Seen) -> None:
    try:
        async for message in connection:
            seen.messages[json.loads(message)["type"]] += 1
    except ConnectionClosed:
        pass
    seen.ended[f"{connection.close_code} {connection.close_reason}".strip()] += 1


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when all came in, and nobody was lost."""
    parser = argparse.ArgumentParser(prog="python -m bench.outside")
    parser.add_argument("url")
    parser.add_argument("--clients", type=int, default=1_000)
    parser.add_argument("--at-once", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30, help="to wait after all have come")
    parser.add_argument("--server", type=int, nargs="*", default=[], metavar="PID")
    options = parser.parse_args(arguments)
    machine.raise_file_limit()
    with derived_once():
        seen = asyncio.run(
            measure(
                options.url,
                clients=options.clients,
                at_once=options.at_once,
                seconds=options.seconds,
                server=options.server,
            )
        )
    print(f"{len(seen.login_ms)} of {options.clients} logged in, all in {seen.arrived_s:.1f} s")
    if seen.login_ms:
        median, worst = (machine.percentile(seen.login_ms, each) for each in (50, 99))
        print(f"a login took {median:.1f} ms in the median, {worst:.1f} ms for 99 %")
    if options.server and seen.login_ms:
        print(
            f"the server: {len(seen.login_ms) / seen.arrived_cpu_s:,.0f} logins per CPU second, "
            f"{seen.memory_kib / len(seen.login_ms):.1f} KiB for each client, "
            f"{seen.waiting_percent:.1f} % of a core while they wait"
        )
    for what, counted in (("refused", seen.refused), ("ended", seen.ended)):
        for reason, count in counted.most_common():
            print(f"{what}: {count} times {reason}")
    print(f"messages: {dict(seen.messages) or 'none'}")
    return 1 if seen.refused or seen.ended else 0


if __name__ == "__main__":
    sys.exit(main())
