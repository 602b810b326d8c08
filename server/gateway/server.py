"""The gateway: listens, answers plain HTTP, and runs a session for each connection."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Sequence
from contextlib import AsyncExitStack
from http import HTTPStatus
from ipaddress import ip_address
from types import TracebackType
from typing import Self

from websockets.frames import CloseCode

from protocol.messages import PATH, Bye
from server import metrics
from server.addresses import Network, client_address
from server.cluster import bus
from server.cluster.heartbeat import GatewayHeartbeat
from server.gateway.connections import Connection, Presence, Registry
from server.gateway.listener import Listener
from server.gateway.session import Limits, Services, Session
from server.gateway.store import Store, Unavailable
from server.gateway.tasks import Tasks
from server.gateway.throttle import Throttle
from server.gateway.transport import Wire
from server.gateway.updates import Updates
from server.gateway.upgrade import Answer, Request
from server.gateway.user_state import user_states

log = logging.getLogger(__name__)

HEALTH_PATH, READY_PATH = "/healthz", "/readyz"
SWEEP_SECONDS = 15
"""How late a waiting client may learn that its old password has ended."""
SPREAD_SECONDS = 30
"""Clients that a stopping gateway sends away come back within this time, spread out."""
SENT_AT_ONCE = 1000
"""Who is told that the gateway stops, before the answers of those who were told are looked at."""
RETRY_AFTER_SECONDS = 60


class Gateway:
    """`async with Gateway(...) as gateway`: it serves on `gateway.port` until the end of that.

    Django must be set up and migrated. It runs on the loop that it is entered on, and may be
    woken (`server.cluster.bus`) from any thread.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        name: str = "gateway",
        console_url: str | None = None,
        tls: ssl.SSLContext | None = None,
        trusted_proxies: Sequence[Network] = (),
        min_client_version: str = "",
        sweep_interval_s: float = SWEEP_SECONDS,
        limits: Limits | None = None,
    ) -> None:
        """`name` differs between gateways that share a database."""
        self._host = host
        self._asked_port = port
        self._name = name
        self._console_url = console_url
        self._tls = tls
        self._trusted_proxies = trusted_proxies
        self._min_client_version = min_client_version
        self._sweep_interval_s = sweep_interval_s
        self._limits = limits or Limits()
        self._stopping = False
        self._services: Services
        self._listener: Listener
        self._sweeper: asyncio.Task[None]
        self._heartbeat: GatewayHeartbeat
        self._stack: AsyncExitStack

    @property
    def port(self) -> int:
        """Where it listens; there once it is entered."""
        return self._listener.port

    async def __aenter__(self) -> Self:
        registry, tasks = Registry(), Tasks()
        self._listener = Listener(
            self,
            frame_burst=self._limits.message_burst,
            frames_per_s=self._limits.messages_per_s,
            settle_s=self._limits.login_s,
        )
        async with AsyncExitStack() as stack:
            store = Store(self._name)
            stack.push_async_callback(store.close)
            await store.open()
            states = await stack.enter_async_context(user_states())
            updates = Updates(registry, store, states, tasks, gateway=self._name)
            stack.push_async_callback(tasks.drain)
            self._services = Services(
                store=store,
                registry=registry,
                updates=updates,
                throttle=Throttle(),
                tasks=tasks,
                gone=self._gone,
                console_url=self._console_url,
                min_client_version=self._min_client_version,
            )
            self._heartbeat = await stack.enter_async_context(
                GatewayHeartbeat(self._name, on_evicted=lambda: updates.wake(None))
            )
            await stack.enter_async_context(bus.listening(updates.wake))
            await self._listener.start(self._host, self._asked_port, self._tls)
            self._stack = stack.pop_all()
        self._sweeper = asyncio.create_task(self._sweep_for_ever())
        log.info("the gateway listens on %s port %d", self._host, self.port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Send all clients away, spread out over the next seconds, and let go of everything."""
        self._stopping = True
        self._sweeper.cancel()
        self._listener.stop()
        await self._send_all_away()
        await self._listener.wait_closed()
        await asyncio.wait([self._sweeper])
        await self._stack.aclose()

    def lets_in(self, peer: str, *, opening: int) -> bool:
        """Whoever opens connections and says nothing shall not use up all that can be open."""
        if opening < self._limits.unproven_per_address:
            return True
        address = ip_address(client_address(peer, (), ()))
        if any(address in network for network in self._trusted_proxies):
            return True
        metrics.connections_refused.labels("too_many_opening").inc()
        return False

    def admit(self, wire: Wire, request: Request) -> str:
        """The address that a request for an upgrade comes from. Raise Answer for any other."""
        if request.path == HEALTH_PATH:
            raise Answer(HTTPStatus.OK, "ok")
        if request.path == READY_PATH:
            if self._stopping or not self._heartbeat.is_ready:
                raise _later(HTTPStatus.SERVICE_UNAVAILABLE, "not ready", counted="not_ready")
            raise Answer(HTTPStatus.OK, "ready")
        if request.path != PATH:
            raise Answer(HTTPStatus.NOT_FOUND, "not found")
        if self._stopping:
            raise _later(HTTPStatus.SERVICE_UNAVAILABLE, "stopping", counted="stopping")
        peer, forwarded_for = wire.peer, request.values("x-forwarded-for")
        if peer is None:
            raise Answer(HTTPStatus.BAD_REQUEST, "connection lost")
        address = client_address(peer, forwarded_for, self._trusted_proxies)
        registry, limits = self._services.registry, self._limits
        if registry.count(address) >= limits.per_address:
            raise _later(HTTPStatus.TOO_MANY_REQUESTS, "too many connections", counted="too_many")
        if registry.count(address, unproven=True) >= limits.unproven_per_address:
            raise _later(
                HTTPStatus.TOO_MANY_REQUESTS, "too many logins", counted="too_many_unproven"
            )
        return address

    def open(self, wire: Wire, address: str) -> Session:
        """A client's conversation begins."""
        return Session(Connection(wire, address), self._services)

    async def sweep(self) -> None:
        """What is done every `sweep_interval_s`: see to passwords that have ended."""
        self._services.updates.sweep()
        self._services.throttle.sweep()
        await self._services.store.tidy_up()

    async def _send_all_away(self) -> None:
        connections = self._services.registry.everyone()
        log.info("the gateway stops; %d clients are sent away", len(connections))
        byes = [
            Bye(reason="shutting_down", retry_after_s=seconds)
            for seconds in range(1, SPREAD_SECONDS + 1)
        ]
        for number, connection in enumerate(connections):
            if not connection.ending:
                bye = random.choice(byes)  # noqa: S311 - it spreads, it hides nothing
                connection.end(bye, CloseCode.GOING_AWAY)
            if number % SENT_AT_ONCE == SENT_AT_ONCE - 1:
                await asyncio.sleep(0)

    def _gone(self, presence: Presence) -> None:
        if not self._stopping:
            self._services.store.gone(presence.device_pk, presence.waiting_since)

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._sweep_interval_s)
            try:
                await self.sweep()
            except Unavailable:
                log.warning("a sweep was cut short: the database is away; the next one tries again")
            except Exception:
                log.exception("a sweep failed; the next one tries again")


def _later(status: HTTPStatus, text: str, *, counted: str) -> Answer:
    metrics.connections_refused.labels(counted).inc()
    return Answer(status, text, {"Retry-After": str(RETRY_AFTER_SECONDS)})
