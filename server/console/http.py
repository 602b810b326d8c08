"""Serve the pages over HTTP: limits of connections and requests, proxies, health checks, Django.

uvicorn sets no deadline for a client that sends slowly or nothing, so this module does. The numbers
of connections and requests are limited, too: a flood must not take the file descriptors that the
gateway needs, nor a thread for each request.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from time import monotonic
from typing import Any, ClassVar

import h11
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.db import DatabaseError, connection
from django.http import parse_cookie
from uvicorn.protocols.http.h11_impl import H11Protocol

from server import metrics
from server.addresses import Network, client_address, counted_address, is_trusted
from server.cluster.database import on_thread
from server.reflection import reflect

log = logging.getLogger(__name__)

HEAD_SECONDS = 20.0
"""Longest time from the connection, or from the last answer, to the end of a request's head."""
BODY_SECONDS = 60.0
"""Longest time from the end of a request's head to the end of its body."""
MAX_HEAD_BYTES = 16 * 1024
"""Largest head of a request. Headers of four bytes take a microsecond each."""
SLICE_BYTES = 1024
"""Bytes that h11 gets at once: it checks its limits only after it has parsed them all."""
MAX_FORM_BYTES = 64 * 1024
"""Largest form without a login; a thousand of them fit into the memory."""
MAX_BODY_BYTES = 2 * 1024 * 1024
"""Largest form or file that is read."""
PER_ADDRESS = 500
"""Most connections from one address; many browsers of an office share an address."""
MAX_CONNECTIONS = 1_000
"""Most connections of all browsers: half of the file descriptors that the gateway leaves."""
MAX_REQUESTS = 400
"""Most requests that run at once, each on a thread; others wait after their body was read."""
PAGE_SECONDS = 20.0
"""Longest time of a page. Only a database that does not answer makes it so long."""
REMEMBERED_SECONDS = 1.0
"""Time for which the database's answer to `/readyz` is reused."""
METHODS = (b"GET", b"HEAD", b"POST")

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
AsgiApp = Callable[[Any, Receive, Send], Awaitable[None]]


class GuardedProtocol(H11Protocol):
    """One connection. `trusted` has the networks of proxies, whose connections serve many users."""

    trusted: ClassVar[Sequence[Network]] = ()
    most: ClassVar[int] = MAX_CONNECTIONS
    _open: ClassVar[Counter[str]] = Counter()
    _address = ""
    """The address of the other end; limits count by `_counted`, which is a /64 for IPv6."""
    _counted = ""
    _watched: object = None
    _is_chunked = False
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        # asyncio sets this only if the listener was made with the protocol's number. Without it, an
        # answer's body waits 40 ms until the browser acknowledges the head.
        connected: socket.socket = transport.get_extra_info("socket")
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._address = self.client[0] if self.client else ""
        self._counted = counted_address(self._address) if self._address else ""
        self._open[self._counted] += 1
        if self._is_one_too_many():
            transport.abort()
        else:
            self._watch()

    def _is_one_too_many(self) -> bool:
        """Return whether a limit is exceeded. If there are proxies, half is reserved for them."""
        open_now = self._open.total()
        if is_trusted(self._address, self.trusted):
            return open_now > self.most
        most = self.most // 2 if self.trusted else self.most
        return open_now > most or self._open[self._counted] > PER_ADDRESS

    def connection_lost(self, exc: Exception | None) -> None:
        self._open[self._counted] -= 1
        if not self._open[self._counted]:
            del self._open[self._counted]
        self._unset_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), SLICE_BYTES):
            if self._is_chunked or self.transport.is_closing():
                return
            super().data_received(data[start : start + SLICE_BYTES])
            self._watch()

    def send_400_response(self, msg: str) -> None:
        log.info("console: malformed request from %s", self._address)
        super().send_400_response(msg)

    def _should_upgrade(self) -> bool:
        return False  # else uvicorn would log that no WebSocket library is there

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
        # A chunked body is refused, so do not parse it: chunks of a byte would take seconds.
        self._is_chunked = waits_for is h11.SEND_BODY and _is_chunked(self.headers)
        seconds = {h11.IDLE: HEAD_SECONDS, h11.SEND_BODY: BODY_SECONDS}.get(waits_for)
        if seconds is not None:
            self._deadline = self.loop.call_later(seconds, self.transport.abort)

    def _unset_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def protocol(trusted: Sequence[Network], most: int = MAX_CONNECTIONS) -> type[GuardedProtocol]:
    """Return the protocol class for one server behind the `trusted` proxies."""
    return type(
        "Protocol", (GuardedProtocol,), {"trusted": trusted, "most": most, "_open": Counter()}
    )


def application(trusted: Sequence[Network]) -> AsgiApp:
    """Return the console as an ASGI application behind the `trusted` proxies."""
    pages = answer_health(count(limit_time(get_asgi_application())))
    return behind_proxies(limit_requests(pages), trusted)


def behind_proxies(app: AsgiApp, trusted: Sequence[Network]) -> AsgiApp:
    """Wrap an ASGI application: take address and scheme from the headers of a trusted proxy.

    A request of `doctor` is answered with these headers.
    """

    async def put_right(scope: Any, receive: Receive, send: Send) -> None:
        peer = scope["client"][0]
        headers = [(name.decode(), value.decode("latin-1")) for name, value in scope["headers"]]
        if (seen := reflect("console", peer, headers, trusted=trusted)) is not None:
            await _answer(send, 200, seen)
            return
        hops = [value for name, value in headers if name == "x-forwarded-for"]
        right: dict[str, Any] = {"client": (client_address(peer, hops, trusted), 0)}
        scheme = dict(headers).get("x-forwarded-proto", "").strip().lower()
        if scheme in {"http", "https"} and is_trusted(peer, trusted):
            right["scheme"] = scheme
        await app(scope | right, receive, send)

    return put_right


_charset = re.compile(rb"charset\s*=\s*[\"']?([^\"';\s]*)", re.IGNORECASE)
Answer = tuple[int, str, list[tuple[bytes, bytes]]]
_CLOSE = (b"connection", b"close")
_UNAVAILABLE = (
    "503 The server cannot use its database at the moment. Please try again in a minute.\n"
    "サーバは現在データベースを使用できません。1分ほどしてからやり直してください。\n"
)
_TOO_LARGE = (413, "413 Content Too Large / 送信されたデータが大きすぎます。\n", [_CLOSE])


def _is_chunked(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    return any(name == b"transfer-encoding" for name, _ in headers)


def _refusal(scope: Any) -> Answer | None:
    """Return the error for a request head that is not allowed, or None to pass it on."""
    headers = dict(scope["headers"])
    if _is_chunked(scope["headers"]):  # browsers and proxies state the length
        return 411, "411 Length Required\n", [_CLOSE]
    if scope["method"].encode() not in METHODS:
        return 405, "405 Method Not Allowed\n", [(b"allow", b", ".join(METHODS))]
    if not scope["path"].startswith("/") or "\0" in scope["path"]:
        return 400, "400 Bad Request\n", []
    charset = _charset.search(headers.get(b"content-type", b""))
    if charset is not None and charset[1].lower() not in {b"utf-8", b"utf8"}:
        return 415, "415 Unsupported Media Type: send UTF-8\n", []
    return None if 0 <= _length(headers) <= MAX_BODY_BYTES else _TOO_LARGE


def _length(headers: dict[bytes, bytes]) -> int:
    """Return the stated length of the body, 0 if there is none; -1 if it is no number."""
    length = headers.get(b"content-length", b"0")
    return int(length) if length.isdigit() else -1


def limit_requests(app: AsgiApp) -> AsgiApp:
    """Wrap an ASGI application: refuse bad heads and long bodies, and run `MAX_REQUESTS` at once.

    A request takes one of these places only after its whole body was read. Django would read any
    body, to disk if it is large, before checking it. So that strangers do not fill the memory, a
    body above `MAX_FORM_BYTES` needs a session.
    """
    room = asyncio.Semaphore(MAX_REQUESTS)

    async def limited(scope: Any, receive: Receive, send: Send) -> None:
        refusal = _refusal(scope)
        headers = dict(scope["headers"])
        if refusal is None and _length(headers) > MAX_FORM_BYTES:
            cookies = headers.get(b"cookie", b"").decode("latin-1")
            if not await on_thread(partial(has_session, cookies)):
                refusal = 302, "", [(b"location", b"/login/"), _CLOSE]
        body, more = bytearray(), True
        while more and refusal is None:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if refusal is not None:
            await _answer(send, *refusal)
            return
        unread = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def receive_whole() -> Any:
            if unread:
                return unread.pop()
            if scope["method"] == "POST":
                # Report no disconnect: Django would cancel the form although its work is done, and
                # keep no answer for a second sending. Django cancels this wait at the end.
                await asyncio.Future()
            return await receive()

        async with room:
            await app(scope, receive_whole, send)

    return limited


def has_session(cookies: str) -> bool:
    """Return whether a request with these cookies has the session of a user who is logged in."""
    from django.contrib.auth import SESSION_KEY

    from server.console.sessions import SessionStore

    key = parse_cookie(cookies).get(settings.SESSION_COOKIE_NAME)
    try:
        return bool(key) and SESSION_KEY in SessionStore(key)
    except DatabaseError:
        return False  # the login page shows that


def limit_time(app: AsgiApp, *, seconds: float = PAGE_SECONDS) -> AsgiApp:
    """Wrap an ASGI application: answer 503 when a page does not start to answer in time.

    Forms have no such limit, because their users must learn the result.
    """
    left: set[asyncio.Future[None]] = set()

    def forget(page: asyncio.Future[None]) -> None:
        left.discard(page)
        if not page.cancelled() and (exc := page.exception()) is not None:
            log.warning("page failed after its time limit: %s", type(exc).__name__)

    async def limited(scope: Any, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            await app(scope, receive, send)
            return
        began = asyncio.Event()
        given_up = False

        async def noted(message: Any) -> None:
            if not given_up:
                began.set()
                await send(message)

        page = asyncio.ensure_future(app(scope, receive, noted))
        page.add_done_callback(lambda _: began.set())
        try:
            async with asyncio.timeout(seconds):
                await began.wait()
        except TimeoutError:
            # The page's thread cannot be stopped, and cancelling the page would wait for it.
            given_up = True
            left.add(page)
            page.add_done_callback(forget)
            await _answer(send, 503, _UNAVAILABLE, [(b"retry-after", b"30")])
        except asyncio.CancelledError:
            page.cancel()
            raise
        else:
            await page

    return limited


def count(app: AsgiApp) -> AsgiApp:
    """Wrap an ASGI application: add its requests, their times and status classes to the metrics."""

    async def counted(scope: Any, receive: Receive, send: Send) -> None:
        began, status = monotonic(), 500

        async def noted(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        with metrics.console_requests.track_inprogress():
            try:
                await app(scope, receive, noted)
            finally:
                seconds = metrics.console_request_seconds.labels(f"{status // 100}xx")
                seconds.observe(monotonic() - began)

    return counted


def answer_health(app: AsgiApp) -> AsgiApp:
    """Wrap an ASGI application: answer `/healthz` at once, and `/readyz` by asking the database.

    A load balancer asks by IP address and without TLS, which Django would refuse or redirect.
    """
    lock = asyncio.Lock()
    is_ready, asked_at = False, float("-inf")

    async def answering(scope: Any, receive: Receive, send: Send) -> None:
        nonlocal is_ready, asked_at
        if scope["path"] == "/healthz":
            await _answer(send, 200, "ok\n")
        elif scope["path"] == "/readyz":
            async with lock:
                if monotonic() - asked_at > REMEMBERED_SECONDS:
                    is_ready = await on_thread(_reaches_database)
                    asked_at = monotonic()
            await _answer(send, *((200, "ready\n") if is_ready else (503, "not ready\n")))
        else:
            await app(scope, receive, send)

    return answering


def _reaches_database() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM django_migrations LIMIT 1")
            return cursor.fetchone() is not None
    except DatabaseError:
        return False


async def _answer(
    send: Send, status: int, text: str, more: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    """Send a plain-text answer without Django."""
    body = text.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
