"""Thousands of clients in a process of its own, which a bench commands through a pipe."""

from __future__ import annotations

import asyncio
import gc
import itertools
import multiprocessing
import multiprocessing.connection
import os
import random
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

import uvloop

from bench import machine, people
from bench.clients import Client, GatewayClient, MqttClient
from bench.tls import ClientTls

PING_SECONDS = 20
LOGIN_SECONDS = 60
MAX_TRIES = 5
ADDRESSES = 32
"""Loopback addresses that the clients of one process come from."""


class LoadError(Exception):
    """The clients could not do as they were told; the text says what happened to them."""


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Which clients there are, and where they go. Numbers from `first` on, `count` of them."""

    port: int
    first: int
    count: int
    kind: Literal["gateway", "bare", "mqtt"] = "gateway"
    tls: bool = False
    user: str | None = None
    """Whose PCs they are; None for one user each."""


@dataclass(frozen=True)
class Receipt:
    """A message that came to a client that had logged in; by the machine's monotonic clock."""

    number: int
    at_ns: int
    payload: bytes


class Fleet:
    """The clients; lives in the process of `Load`, whose `call` reaches its coroutines."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._tls = _any_server() if spec.tls else None
        self._clients: dict[int, Client] = {}
        self._entering: dict[int, asyncio.Future[None]] = {}
        self._receipts: list[Receipt] = []
        self._endings: Counter[str] = Counter()
        self._closing: list[Client] = []
        people.keys()

    def came_in(self, client: Client) -> None:
        self._entering.pop(client.number).set_result(None)

    def received(self, client: Client, payload: bytes, at_ns: int) -> None:
        self._receipts.append(Receipt(client.number, at_ns, payload))

    def sent_away(self, client: Client) -> None:
        if not self._closing:
            # Later, so that answering the first does not keep us from reading the others.
            asyncio.get_running_loop().call_later(1, self._answer_closes)
        self._closing.append(client)

    def lost(self, client: Client, why: str) -> None:
        self._endings[why] += 1
        if self._clients.get(client.number) is client:
            del self._clients[client.number]
        entering = None if client.is_in else self._entering.pop(client.number, None)
        if entering is not None and not entering.done():
            entering.set_exception(LoadError(why))

    async def log_in(self, *, at_once: int = 200) -> float:
        """All that are not there yet come, so many at a time; how long it took, in seconds."""
        spec = self._spec
        absent = (n for n in range(spec.first, spec.first + spec.count) if n not in self._clients)
        began = time.monotonic()

        async def come() -> None:
            for number in absent:
                await self._come(number)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(at_once, spec.count)):
                group.create_task(come())
        return time.monotonic() - began

    async def churn(self, *, per_s: float, seconds: float) -> int:
        """Every so often one goes without a word and comes back at once; how many did."""
        began, coming = time.monotonic(), set[asyncio.Task[None]]()
        for done in itertools.count():
            pause = began + done / per_s - time.monotonic()
            await asyncio.sleep(max(0, pause))
            if time.monotonic() > began + seconds:
                break
            number = random.choice([n for n, each in self._clients.items() if each.is_in])
            self._clients.pop(number).transport.abort()
            coming.add(asyncio.create_task(self._come(number)))
        await asyncio.gather(*coming)
        return done

    async def drop(self) -> None:
        """All go without a word, as when their network fails."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            client.transport.abort()

    async def publish(self, *, topic: str, payload: bytes) -> int:
        """The first client, of MQTT, says this; when, by the monotonic clock in ns."""
        client = next(iter(self._clients.values()))
        assert isinstance(client, MqttClient)
        now = time.monotonic_ns()
        client.publish(topic, payload)
        return now

    async def wait_for(self, *, count: int, seconds: float) -> int:
        """Until so many messages have come, but no longer than that; how many have."""
        end = time.monotonic() + seconds
        while len(self._receipts) < count and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        return len(self._receipts)

    async def take(self) -> list[Receipt]:
        """What has come since the last time."""
        receipts, self._receipts = self._receipts, []
        return receipts

    async def state(self) -> tuple[int, dict[str, int]]:
        """How many are logged in, and how connections have ended."""
        return sum(each.is_in for each in self._clients.values()), dict(self._endings)

    async def _come(self, number: int) -> None:
        """Log in, and try again as a client does where the server is too busy."""
        for _ in range(MAX_TRIES - 1):
            with suppress(LoadError, OSError):
                return await self._try_to_come(number)
            await asyncio.sleep(random.uniform(0.3, 3))
        return await self._try_to_come(number)

    async def _try_to_come(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        entered = self._entering[number] = loop.create_future()
        client = self._make(number)
        self._clients[number] = client
        address = f"127.{os.getpid() % 200 + 1}.{number % ADDRESSES}.1"
        async with asyncio.timeout(LOGIN_SECONDS):
            await loop.create_connection(
                lambda: client if self._tls is None else ClientTls(client, self._tls),
                "127.0.0.1",
                self._spec.port,
                local_addr=(address, 0),
            )
            await entered

    def _make(self, number: int) -> Client:
        if self._spec.kind == "mqtt":
            return MqttClient(number, self)
        return GatewayClient(number, self, user=self._spec.user, bare=self._spec.kind == "bare")

    def _answer_closes(self) -> None:
        closing, self._closing = self._closing, []
        for client in closing:
            client.answer_close()

    async def ping_for_ever(self) -> None:
        """Each client pings every 20 s; all of them together do so evenly."""
        for turn in itertools.count():
            await asyncio.sleep(PING_SECONDS / 100)
            for client in list(self._clients.values()):
                if client.number % 100 == turn % 100 and client.is_in:
                    client.ping()


def _any_server() -> ssl.SSLContext:
    """Encrypts; whether the certificate is right is not what is measured."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Load:
    """`with Load(spec) as load: load.call("log_in")`."""

    def __init__(self, spec: Spec, *, nice: int = 0) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, spec, nice), daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.join()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def call(self, method: str, **arguments: object) -> Any:
        """What that method of `Fleet` gives."""
        with self.meanwhile(method, **arguments) as answer:
            pass
        return answer[0]

    def is_busy(self) -> bool:
        """Whether what runs `meanwhile` still does."""
        return not self._pipe.poll()

    @contextmanager
    def meanwhile(self, method: str, **arguments: object) -> Iterator[list[Any]]:
        """The method runs while the block does; its answer is in the list after the block."""
        answer: list[Any] = []
        self._pipe.send((method, arguments))
        yield answer
        good, result = self._pipe.recv()
        if not good:
            raise LoadError(result)
        answer.append(result)


def _serve(pipe: multiprocessing.connection.Connection, spec: Spec, nice: int) -> None:
    machine.pinned(machine.LOAD_CORE, nice=nice)()
    gc.disable()  # a collection among so many objects would be taken for the server's slowness
    uvloop.run(_obey(pipe, spec))


async def _obey(pipe: multiprocessing.connection.Connection, spec: Spec) -> None:
    fleet = Fleet(spec)
    pinger = asyncio.create_task(fleet.ping_for_ever())
    wanted: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def listen() -> None:  # uvloop would make the pipe one that does not wait
        with suppress(EOFError):
            while True:
                loop.call_soon_threadsafe(wanted.put_nowait, pipe.recv())

    threading.Thread(target=listen, daemon=True).start()
    while not pinger.done():
        method, arguments = await wanted.get()
        try:
            pipe.send((True, await getattr(fleet, method)(**arguments)))
        except* Exception as failed:  # noqa: BLE001 - whoever called is told
            pipe.send((False, f"{method}: {failed.exceptions[0]!r}"))
