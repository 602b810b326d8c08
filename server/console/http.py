"""Limit uvicorn's HTTP connections: a deadline for each head and body, a number per address.

uvicorn itself sets no deadline for a client that sends slowly, or nothing at all. Connections and
requests are limited together too, so that a flood takes neither the descriptors that the gateway
needs nor a thread for each request.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from server.addresses import Network

if TYPE_CHECKING:
    from server.console.middleware import AsgiApp, Receive, Send

HEAD_SECONDS = 20.0
"""From the connection, or from the last answer, to the end of a request's head."""
BODY_SECONDS = 60.0
"""From there to the end of its body, which is 2 MiB at most."""
PER_ADDRESS = 500
"""Connections from one address; many browsers of an office share one."""
MAX_CONNECTIONS = 1_000
"""Connections of all browsers: half of the descriptors that the gateway leaves."""
MAX_REQUESTS = 400
"""Requests at once. Each has a thread once its body has come; the others wait for one to end."""


class GuardedProtocol(H11Protocol):
    """One connection. `trusted` are the proxies, whose connections carry many users."""

    trusted: ClassVar[Sequence[Network]] = ()
    most: ClassVar[int] = MAX_CONNECTIONS
    _open: ClassVar[Counter[str]] = Counter()
    _address = ""
    _watched: object = None
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        # asyncio does so itself only where the listener was made with the protocol's number.
        # Else the body of an answer waits 40 ms for the browser to acknowledge its head.
        connected: socket.socket = transport.get_extra_info("socket")
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._address = self.client[0] if self.client else ""
        self._open[self._address] += 1
        is_full = self._open.total() > self.most
        if is_full or (self._open[self._address] > PER_ADDRESS and not self._is_proxy()):
            transport.abort()
        else:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._open[self._address] -= 1
        if not self._open[self._address]:
            del self._open[self._address]
        self._unset_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def _watch(self) -> None:
        """Set the deadline when the connection begins to wait for a head or a body."""
        waits_for = self.conn.their_state
        if waits_for is self._watched or self.transport.is_closing():
            return
        self._watched = waits_for
        self._unset_deadline()
        seconds = {h11.IDLE: HEAD_SECONDS, h11.SEND_BODY: BODY_SECONDS}.get(waits_for)
        if seconds is not None:
            self._deadline = self.loop.call_later(seconds, self.transport.abort)

    def _unset_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _is_proxy(self) -> bool:
        try:
            address = ip_address(self._address)
        except ValueError:
            return False
        return any(address in network for network in self.trusted)


def protocol(trusted: Sequence[Network], most: int = MAX_CONNECTIONS) -> type[GuardedProtocol]:
    """Return the protocol class for one server behind these proxies."""
    return type(
        "Protocol", (GuardedProtocol,), {"trusted": trusted, "most": most, "_open": Counter()}
    )


def limit_requests(app: AsgiApp) -> AsgiApp:
    """Wrap an ASGI application: let `MAX_REQUESTS` run whose body has come."""
    room = asyncio.Semaphore(MAX_REQUESTS)

    async def limited(scope: Any, receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as stack:
            has_room = False

            async def when_whole() -> Any:
                nonlocal has_room
                message = await receive()
                if not has_room and not message.get("more_body"):
                    await stack.enter_async_context(room)
                    has_room = True
                return message

            await app(scope, when_whole, send)

    return limited
