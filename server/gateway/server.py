"""The gateway: listens, answers plain HTTP, and runs a session for each connection."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Callable, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.frames import CloseCode
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from agent.core.messages import MAX_MESSAGE_BYTES, PATH, SUBPROTOCOL, Bye
from server import bus
from server.config import Network
from server.gateway.address import client_address
from server.gateway.connections import Connection, Registry
from server.gateway.session import Limits, Services, Session
from server.gateway.store import Store
from server.gateway.throttle import Throttle
from server.gateway.updates import Updates

log = logging.getLogger(__name__)

HEALTH_PATH = "/healthz"
SWEEP_SECONDS = 15
"""How late a waiting client may learn that its old password has ended."""
SPREAD_SECONDS = 30
"""Clients that a stopping gateway sends away come back within this time, spread out."""
RETRY_AFTER_SECONDS = 60
OPEN_SECONDS = 10
"""How long TLS and the upgrade may take, each."""
PING_SECONDS, PONG_SECONDS = 30, 20
CLOSE_SECONDS = 5


class Gateway:
    """`async with Gateway(...) as gateway`: it serves on `gateway.port` until the end of that.

    Django must be set up and migrated. It runs on the loop that it is entered on, and may be
    woken (`server.bus`) from any thread.
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
        self._server: Server
        self._sweeper: asyncio.Task[None]
        self._unsubscribe: Callable[[], None]

    @property
    def port(self) -> int:
        """Where it listens; there once it is entered."""
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        store = Store(self._name)
        registry = Registry()
        self._services = Services(
            store=store,
            registry=registry,
            updates=Updates(registry, store),
            throttle=Throttle(),
            limits=self._limits,
            console_url=self._console_url,
            min_client_version=self._min_client_version,
        )
        try:
            await store.open()
            self._server = await self._listen()
        except BaseException:
            await store.close()
            raise
        self._unsubscribe = bus.bus.subscribe(self._on_wake_up(asyncio.get_running_loop()))
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
        self._unsubscribe()
        self._sweeper.cancel()
        self._server.close(close_connections=False)
        connections = self._services.registry.everyone()
        log.info("the gateway stops; %d clients are sent away", len(connections))
        await asyncio.gather(*(_send_away(each) for each in connections if not each.ending))
        await self._server.wait_closed()
        await self._services.updates.drain()
        await asyncio.wait([self._sweeper])
        await self._services.store.clear_presence()
        await self._services.store.close()

    async def sweep(self) -> None:
        """What is done every `sweep_interval_s`: see to passwords that have ended."""
        self._services.updates.sweep()
        self._services.throttle.sweep()
        await self._services.store.tidy_up()

    async def _listen(self) -> Server:
        wire_log = logging.getLogger("server.gateway.wire")
        # At DEBUG the library logs every frame, which nobody may read.
        wire_log.setLevel(logging.WARNING)
        return await serve(
            self._handle,
            self._host,
            self._asked_port,
            process_request=self._process_request,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            server_header=None,
            max_size=MAX_MESSAGE_BYTES,
            open_timeout=OPEN_SECONDS,
            ping_interval=PING_SECONDS,
            ping_timeout=PONG_SECONDS,
            close_timeout=CLOSE_SECONDS,
            logger=wire_log,
            ssl=self._tls,
        )

    def _process_request(self, socket: ServerConnection, request: Request) -> Response | None:
        """Answer what is no upgrade to a session; None lets it go on."""
        path = urlsplit(request.path).path
        if path == HEALTH_PATH:
            return socket.respond(HTTPStatus.OK, "ok")
        if path != PATH:
            return socket.respond(HTTPStatus.NOT_FOUND, "not found")
        if self._stopping:
            return _later(socket, HTTPStatus.SERVICE_UNAVAILABLE, "stopping")
        address = self._address(socket, request)
        registry, limits = self._services.registry, self._limits
        if address is None:
            return socket.respond(HTTPStatus.BAD_REQUEST, "connection lost")
        if (
            registry.count(address) >= limits.per_address
            or registry.count(address, unproven=True) >= limits.unproven_per_address
        ):
            return _later(socket, HTTPStatus.TOO_MANY_REQUESTS, "too many connections")
        return None

    async def _handle(self, socket: ServerConnection) -> None:
        address = self._address(socket, socket.request)
        if address is None:
            return
        connection = Connection(socket, address)
        self._services.registry.opened(connection)
        try:
            await Session(connection, self._services).run()
        finally:
            presence = self._services.registry.closed(connection)
            if presence is not None and not self._stopping:
                await self._services.store.gone(presence.device_pk, presence.waiting_since)

    def _address(self, socket: ServerConnection, request: Request | None) -> str | None:
        peer = socket.remote_address
        if not peer or request is None:
            return None
        forwarded_for = request.headers.get_all("X-Forwarded-For")
        return client_address(peer[0], forwarded_for, self._trusted_proxies)

    def _on_wake_up(self, loop: asyncio.AbstractEventLoop) -> bus.Listener:
        def listener(user_id: int) -> None:
            try:
                loop.call_soon_threadsafe(self._services.updates.wake, user_id)
            except RuntimeError:
                log.debug("a wake-up came after the gateway's loop was closed")

        return listener

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._sweep_interval_s)
            try:
                await self.sweep()
            except Exception:
                log.exception("a sweep failed; the next one tries again")


def _later(socket: ServerConnection, status: HTTPStatus, text: str) -> Response:
    response = socket.respond(status, text)
    response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


async def _send_away(connection: Connection) -> None:
    retry_after_s = random.randint(1, SPREAD_SECONDS)  # noqa: S311 - it spreads, it hides nothing
    await connection.end(
        Bye(reason="shutting_down", retry_after_s=retry_after_s), CloseCode.GOING_AWAY
    )
