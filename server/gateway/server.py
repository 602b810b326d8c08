"""The gateway: put its parts together, answer plain HTTP, and start and stop it all.

listener            accepts connections, checks their deadlines
ClientConnection    one client: socket, WebSocket, deadlines
Conversations       logins and reports; one task a login
ChangeNotifier      tells waiting clients what has changed
Pairings            new PCs that show a code
Registry            finds connections by user, counts them by address
Store               the database, in batches, off the loop
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import AsyncExitStack
from functools import partial
from http import HTTPStatus
from ipaddress import ip_address
from typing import Self

from websockets.frames import CloseCode
from websockets.http11 import Request

from protocol.messages import PATH, Bye
from server import config, metrics
from server.addresses import client_address, is_trusted
from server.cluster import bus
from server.config import Config
from server.console import passwords
from server.gateway import connection as stages
from server.gateway.batcher import Unavailable
from server.gateway.change_notifier import ChangeNotifier
from server.gateway.connection import Callbacks, ClientConnection
from server.gateway.conversation import Conversations
from server.gateway.handshake import Answer
from server.gateway.heartbeat import GatewayHeartbeat, default_name
from server.gateway.listener import BACKLOG, CallQueue, sweep_deadlines
from server.gateway.pairings import Pairings
from server.gateway.registry import OPENING, PROVEN, UNPROVEN, Registry
from server.gateway.store import Store
from server.gateway.throttle import Throttle
from server.loop import bind
from server.reflection import reflect
from server.supervised import Supervision, supervised

log = logging.getLogger(__name__)

HEALTH_PATH, READY_PATH = "/healthz", "/readyz"
SWEEP_SECONDS = 15
"""Interval of the sweeps, and how late a waiting client learns that its password has expired."""
SPREAD_SECONDS = 30
"""Longest random delay after which the clients of a stopping gateway come back."""
SENT_AT_ONCE = 1000
"""Clients that are sent away before the loop runs other callbacks."""
RETRY_AFTER_SECONDS = 60
MANY_CLIENTS = 20
"""When at least so many clients all have one address, this address is taken for a proxy's."""


class Gateway:
    """`async with Gateway(settings) as gateway`: serve on `gateway.port` until the context is left.

    Django must be set up and migrated. The gateway runs on the loop that enters it, and may be
    woken (`server.cluster.bus`) from any thread.
    """

    def __init__(
        self,
        settings: Config | None = None,
        *,
        max_connections: int = 1_000_000,
        sweep_interval_s: float = SWEEP_SECONDS,
    ) -> None:
        """Make the parts, but start none. `settings` default to those of the process.

        `max_connections` must be less than the process's limit of file descriptors.
        """
        self._settings = settings = settings or config.current()
        self._max_connections = max_connections
        self._sweep_interval_s = sweep_interval_s
        self.port = settings.gateway_port
        """The port that the gateway listens on, once the context is entered."""
        self._name = settings.gateway_name or default_name(self.port)
        self._is_stopping = False
        self._has_warned_of_proxy = False
        self._registry = Registry()
        self._throttle = Throttle(settings)
        self._store = Store(self._name)
        self._notifier = ChangeNotifier(self._registry, self._store)
        self.wake = self._notifier.wake
        self._pairings = Pairings(self._store, settings)
        conversations = Conversations(
            settings=settings,
            store=self._store,
            registry=self._registry,
            notifier=self._notifier,
            pairings=self._pairings,
            throttle=self._throttle,
        )
        self._callbacks = Callbacks(
            may_accept=self._may_accept,
            admit=self._admit,
            converse=conversations.converse,
            on_closed=self._on_closed,
            call_soon=CallQueue().add,
        )
        self._supervisions: list[Supervision] = []
        self._server: asyncio.Server
        self._stack: AsyncExitStack
        self.heartbeat = GatewayHeartbeat(self._name, on_evicted=partial(self.wake, None))

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._store.close)
            await self._store.open()
            stack.push_async_callback(self._pairings.poll)
            stack.push_async_callback(self._notifier.drain)
            await self.heartbeat.join()
            stack.push_async_callback(self.heartbeat.leave)
            listening = bus.listening(self.wake, self._throttle.forget)
            self._supervisions.append(await stack.enter_async_context(listening))
            for name, work in (
                ("heartbeat", self.heartbeat.keep_beating),
                ("deadlines", lambda: sweep_deadlines(self._registry.connections)),
                ("sweeper", self._sweep_for_ever),
                ("pairings", self._pairings.poll_for_ever),
            ):
                self._supervisions.append(await stack.enter_async_context(supervised(name, work)))
            host, loop = self._settings.host, asyncio.get_running_loop()
            bound = bind(host, self.port)
            make = partial(ClientConnection, loop, self._callbacks)
            self._server = await loop.create_server(make, sock=bound, backlog=BACKLOG)
            self.port = int(bound.getsockname()[1])
            self._stack = stack.pop_all()
        log.info("the gateway listens on %s port %d", host, self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Tell all clients to come back after a random delay, and end all tasks."""
        self._is_stopping = True
        self._server.close()
        await self._send_all_away()
        await self._registry.wait_empty()
        await self._stack.aclose()

    async def sweep(self) -> None:
        """Tell clients of expired passwords, and forget old counts and rows."""
        self._throttle.sweep()
        self._warn_of_proxy()
        self._notifier.sweep()
        await self._store.write(passwords.tidy_up)

    # --- called by connections

    def _may_accept(self, connection: ClientConnection) -> bool:
        """Count a new connection, unless there are too many that have sent no request yet."""
        if self._is_stopping or not connection.peer:
            return False
        settings, registry = self._settings, self._registry
        if len(registry.connections) >= self._max_connections:
            metrics.connections_refused.labels("full").inc()
            log.warning("connections are refused: all %d are in use", self._max_connections)
            return False
        peer = connection.peer
        is_many = registry.count(OPENING, peer) >= settings.unproven_per_address
        is_many = is_many and not is_trusted(peer, settings.trusted_proxies)
        if is_many and not registry.make_room(OPENING, peer):
            metrics.connections_refused.labels("too_many_opening").inc()
            log.warning("connections from %s are refused: too many send nothing", peer)
            return False
        registry.add(connection)
        return True

    def _admit(self, connection: ClientConnection, request: Request) -> None:
        """Count a request to upgrade by the client's address. Raise Answer for other requests."""
        trusted, headers = self._settings.trusted_proxies, request.headers
        seen = reflect("gateway", connection.peer, headers.raw_items(), trusted=trusted)
        if seen is not None:
            raise Answer(HTTPStatus.OK, seen)
        path = request.path.partition("?")[0]
        if path == HEALTH_PATH:
            raise Answer(HTTPStatus.OK, "ok")
        if path == READY_PATH:
            if not self._is_ready:
                raise _come_back(HTTPStatus.SERVICE_UNAVAILABLE, "not ready", counted="not_ready")
            raise Answer(HTTPStatus.OK, "ready")
        if path != PATH:
            raise Answer(HTTPStatus.NOT_FOUND, "not found")
        if self._is_stopping:
            raise _come_back(HTTPStatus.SERVICE_UNAVAILABLE, "stopping", counted="stopping")
        settings = self._settings
        address = client_address(connection.peer, headers.get_all("X-Forwarded-For"), trusted)
        unproven, full = self._registry.count(UNPROVEN, address), None
        if unproven + self._registry.count(PROVEN, address) >= settings.connections_per_address:
            full = "too_many"
        elif unproven >= settings.unproven_per_address:
            full = "too_many_unproven"
        if full is not None and not self._registry.make_room(UNPROVEN, address):
            log.warning("connections from %s are refused: %s", address, full)
            raise _come_back(HTTPStatus.TOO_MANY_REQUESTS, "too many connections", counted=full)
        self._registry.upgrade(connection, address)

    def _on_closed(self, connection: ClientConnection) -> None:
        self._registry.remove(connection)
        if connection.device is not None and not self._is_stopping:
            self._store.release(connection.device, connection.farewell)

    # --- readiness, sweeps, and the end

    @property
    def _is_ready(self) -> bool:
        return (
            not self._is_stopping
            and self.heartbeat.is_recent
            and all(each.is_healthy for each in self._supervisions)
        )

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._sweep_interval_s)
            try:
                await self.sweep()
            except Unavailable:
                log.warning("a sweep was cut short: the database is away; the next one tries again")

    async def _send_all_away(self) -> None:
        connections = list(self._registry.connections)
        log.info("the gateway stops; %d clients are sent away", len(connections))
        for number, connection in enumerate(connections):
            if connection.stage == stages.OPENING:
                connection.abort()
            else:
                seconds = random.randint(1, SPREAD_SECONDS)  # noqa: S311 - it spreads the load
                bye = Bye(reason="shutting_down", retry_after_s=seconds)
                connection.end(bye, CloseCode.GOING_AWAY)
            if number % SENT_AT_ONCE == SENT_AT_ONCE - 1:
                await asyncio.sleep(0)

    def _warn_of_proxy(self) -> None:
        """Warn once when limits by address count all clients as one, because of a proxy."""
        address = self._registry.only_address()
        if self._has_warned_of_proxy or address is None or "/" in address:
            return
        count = self._registry.count(UNPROVEN, address) + self._registry.count(PROVEN, address)
        if count < MANY_CLIENTS:
            return
        if is_trusted(address, self._settings.trusted_proxies):
            hint = "let the proxy there send X-Forwarded-For"
        elif ip_address(address).is_private:
            hint = "if a proxy runs there, name it in trusted_proxies"
        else:
            return
        self._has_warned_of_proxy = True
        log.warning("all %d clients come from %s: %s", count, address, hint)


def _come_back(status: HTTPStatus, text: str, *, counted: str) -> Answer:
    metrics.connections_refused.labels(counted).inc()
    return Answer(status, text, **{"Retry-After": str(RETRY_AFTER_SECONDS)})
