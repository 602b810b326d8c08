"""Open the WebSocket to the gateway with `websockets`, and turn its messages into events."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable, Generator
from contextlib import suppress
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import truststore
import websockets.asyncio.client
import websockets.client
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidProxyStatus, ProxyError
from websockets.frames import CloseCode
from websockets.http11 import Response
from websockets.uri import WebSocketURI, parse_uri

from agent import __version__
from agent.address import is_loopback, place
from agent.core import events as ev
from agent.core.classify import classify
from agent.core.failure import Failure, Reason
from agent.proxies import find_proxies
from protocol import messages as msg

log = logging.getLogger(__name__)

OPEN_S = 20.0  # seconds for name resolution, proxy, TLS and upgrade together
NEXT_ADDRESS_S = 0.25  # seconds until the next address is tried too (Happy Eyeballs, RFC 8305)
PING_S, PONG_S = 20.0, 15.0  # seconds. A dead connection is noticed within their sum.
PROBE_S = 5.0
MAX_UNSENT_BYTES = 64 * 1024  # limit of unsent data, many times more than a client ever sends
MESSAGE_BURST, MESSAGES_PER_S = 200, 20.0  # from the server: each may cost a write to the disk
MAX_INTERIM = 8  # answers of 100 to 199 before the final answer. A server sends one or two.
CLOSE_S = 3.0

Emit = Callable[[ev.Event], None]


class _Opening(connect):
    """Follow no redirect, and tell the proxy's TLS errors from the server's."""

    def process_redirect(self, exc: Exception) -> Exception:
        return exc

    async def open_tcp_connection(self) -> ClientConnection:
        make, made = self.factory, False

        def factory(uri: WebSocketURI) -> ClientConnection:
            nonlocal made
            made = True  # the way to the server is open
            return make(uri)

        self.factory = factory
        try:
            return await super().open_tcp_connection()
        except ssl.SSLError as exc:
            if made:
                raise
            raise ProxyError("TLS to the proxy has failed") from exc


class _BoundedConnection(ClientConnection):
    """Cut off a server that sends pings and does not read the pongs: they would fill the memory."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            self.protocol.fail(CloseCode.POLICY_VIOLATION)
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        # When a tunnel ends during TLS, there is no transport yet, and websockets would fail.
        if hasattr(self, "transport"):
            super().connection_lost(exc)


class _Head(Response):
    """Read an HTTP answer, of server or proxy, without its page, and in HTTP/1.0 as well.

    A program in front of the gateway may send a page that is cut off, encoded or endless. The
    status line may end after the code, without the blank that RFC 9112 wants. Answers of 100 to 199
    may come before the real one.
    """

    @classmethod
    def parse(cls, read_line: Any, *readers: Any, **_: Any) -> Generator[None, None, Response]:
        def read(*limits: Any) -> Generator[None, None, bytes]:
            line = bytes((yield from read_line(*limits)))
            return re.sub(rb"^(HTTP/1\.[01] \d{3})\r\n$", rb"\1 \r\n", line)

        for _interim in range(MAX_INTERIM + 1):
            response = yield from super().parse(read, *readers, proxy=True)  # type: ignore[misc] # two readers
            if response.status_code >= 200 or response.status_code == 101:
                break
        return response


def tls_context() -> ssl.SSLContext:
    """Return a context for TLS 1.2 or later that trusts the operating system's certificates."""
    # asyncio's buffer; the default takes 256 KiB a connection.
    SSLProtocol.max_size = msg.MAX_MESSAGE_BYTES
    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


async def open_connection(server: str, *, proxy: str | None, **more: Any) -> ClientConnection:
    """Connect and upgrade, with `more` options. Raise InsecureAddress or what `classify` takes."""
    uri = parse_uri(server)
    if not uri.secure and not is_loopback(uri.host):
        raise InsecureAddress
    if proxy and proxy.startswith("socks"):
        proxy = await _at_one_address(proxy)
    for module in (websockets.client, websockets.asyncio.client):
        module.Response = _Head  # type: ignore[attr-defined] # there is no option for this
    options: dict[str, Any] = {
        "subprotocols": [msg.SUBPROTOCOL],
        "compression": None,
        "user_agent_header": f"coconowork-client/{__version__}",
        "ssl": tls_context() if uri.secure else None,
        **({"proxy_ssl": tls_context()} if proxy and proxy.startswith("https:") else {}),
        "open_timeout": OPEN_S,
        "ping_interval": PING_S,
        "ping_timeout": PONG_S,
        "close_timeout": CLOSE_S,
        "max_size": msg.MAX_MESSAGE_BYTES,
        "create_connection": _BoundedConnection,
        "happy_eyeballs_delay": NEXT_ADDRESS_S,
        **more,
    }
    try:
        return await _Opening(server, proxy=proxy, **options)
    except InvalidProxyStatus as exc:
        if exc.response.status_code != 407 or not proxy or not proxy.startswith("http:"):
            raise
        offers = exc.response.headers.get_all("Proxy-Authenticate")
        target = place(uri.host, uri.port)
        async with asyncio.timeout(OPEN_S):
            at = await _at_one_address(proxy)
            from agent.proxy_login import open_tunnel

            tunnel = await open_tunnel(proxy, target, offers, at=at)
        if tunnel is None:
            raise
    return await _Opening(server, proxy=None, sock=tunnel, **options)


async def reachable(proxies: list[str | None]) -> str | None:
    """Return the first entry of `find_proxies` that accepts a connection, as browsers do.

    None, the way without a proxy, and the last entry are returned without a try. A dead proxy takes
    at most OPEN_S divided by the number of entries.
    """
    for proxy in proxies[:-1]:
        with suppress(OSError, UnicodeError):
            async with asyncio.timeout(OPEN_S / len(proxies)):
                if proxy is not None:
                    await _at_one_address(proxy)
            return proxy
    return proxies[-1]


async def _at_one_address(proxy: str) -> str:
    """Replace the proxy's name by an IP address that answers; python-socks tries the first only."""
    parts = urlsplit(proxy)
    try:
        async with asyncio.timeout(OPEN_S):
            _, writer = await asyncio.open_connection(
                parts.hostname, parts.port, happy_eyeballs_delay=NEXT_ADDRESS_S
            )
    except socket.gaierror as exc:  # in `classify`, it means the server's name
        raise OSError(exc.errno, "the name of the proxy is not known") from None
    peer = writer.get_extra_info("peername")
    writer.close()
    if peer is None:
        raise ConnectionResetError("the proxy has reset the connection")
    host, port, *_ = peer
    login = parts.netloc.rpartition("@")
    return f"{parts.scheme}://{login[0]}{login[1]}{place(host, port)}"


class InsecureAddress(Exception):
    """The address is `ws://` to another machine."""


class Connection:
    """One connection, from its opening to its end; `run` reports everything by `emit`."""

    def __init__(self, number: int, server: str, *, proxy_setting: str, emit: Emit) -> None:
        self.number = number
        self._server = server
        self._proxy_setting = proxy_setting
        self._emit = emit
        self._socket: ClientConnection | None = None
        self.farewell: msg.Farewell | None = None  # what the client tells the server at its end

    async def run(self) -> None:
        """Emit Connected, Received… and, unless cancelled, one Disconnected at the end."""
        proxy = None
        try:
            found = await asyncio.to_thread(find_proxies, self._server, self._proxy_setting)
            proxy = await reachable(found)
            log.debug("connection %d: opening%s", self.number, " by proxy" if proxy else "")
            self._socket = await open_connection(self._server, proxy=proxy)
            try:
                failure = await self._receive(self._socket)
            finally:
                await self._close(self._socket)
        except InsecureAddress:
            failure = Failure(Reason.INSECURE_ADDRESS)
        except Exception as exc:
            failure = classify(exc, proxy=proxy)
            if failure.reason is Reason.INTERNAL:
                log.exception("connection %d: unexpected", self.number)
        self._emit(ev.Disconnected(self.number, failure))

    async def _close(self, socket: ClientConnection) -> None:
        try:
            with suppress(OSError):
                await socket.close(reason=self.farewell or "")
        finally:
            # At the program's end this task is cancelled, and must not wait for the server.
            socket.transport.abort()

    async def send(self, message: msg.ClientMessage) -> None:
        """Send a message, or drop it when the connection has ended."""
        if self._socket is not None:
            with suppress(ConnectionClosed):
                await self._socket.send(msg.encode(message), text=True)

    async def probe(self) -> None:
        """Cut the connection unless a pong comes within PROBE_S."""
        if self._socket is None:
            return
        try:
            with suppress(ConnectionClosed):
                async with asyncio.timeout(PROBE_S):
                    await (await self._socket.ping())
        except TimeoutError:
            log.info("connection %d: no answer to a probe", self.number)
            self._socket.transport.abort()

    async def _receive(self, socket: ClientConnection) -> Failure:
        if socket.subprotocol != msg.SUBPROTOCOL:
            await socket.close(1002)
            return Failure(Reason.NOT_A_GATEWAY, detail="another subprotocol")
        self._emit(ev.Connected(self.number))
        left, counted_at = float(MESSAGE_BURST), monotonic()  # a token bucket
        while True:
            try:
                data = await socket.recv()
                now = monotonic()
                left = min(left + (now - counted_at) * MESSAGES_PER_S, MESSAGE_BURST) - 1
                counted_at = now
                if left < 0:
                    await socket.close(1008)
                    return Failure(Reason.PROTOCOL, detail="too many messages")
                if isinstance(data, bytes):
                    await socket.close(1003)
                    return Failure(Reason.PROTOCOL, detail="a binary frame")
                message = msg.decode_from_server(data.encode())
            except msg.UnknownMessage:
                log.debug("connection %d: ignored a message of an unknown type", self.number)
            except msg.MessageError as exc:
                await socket.close(1008)
                return Failure(Reason.PROTOCOL, detail=str(exc))
            except ConnectionClosed as exc:
                return classify(exc, proxy=None)
            else:
                log.debug("connection %d: %s", self.number, type(message).__name__)
                self._emit(ev.Received(self.number, message))
