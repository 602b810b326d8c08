"""Serve the pages over HTTP: limits of connections and requests, proxies, health checks, Django.

uvicorn itself sets no deadline for a client that sends slowly, or nothing at all. Connections and
requests are limited together too, so that a flood takes neither the descriptors that the gateway
needs nor a thread for each request.
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
"""From the connection, or from the last answer, to the end of a request's head."""
BODY_SECONDS = 60.0
"""From there to the end of its body."""
MAX_HEAD_BYTES = 16 * 1024
"""The largest head of a request. Headers of four bytes take a microsecond each."""
SLICE_BYTES = 1024
"""Bytes that h11 parses at once: it looks at its limits after all that it was given."""
MAX_FORM_BYTES = 64 * 1024
"""The largest form of someone who is not logged in; a thousand of them fit into the memory."""
MAX_BODY_BYTES = 2 * 1024 * 1024
"""The largest form or file that is read."""
PER_ADDRESS = 500
"""Connections from one address; many browsers of an office share one."""
MAX_CONNECTIONS = 1_000
"""Connections of all browsers: half of the descriptors that the gateway leaves."""
MAX_REQUESTS = 400
"""Requests at once. Each has a thread once its body has come; the others wait for one to end."""
PAGE_SECONDS = 20.0
"""How long a page may take. Only a database that does not answer takes so long."""
REMEMBERED_SECONDS = 1.0
"""How long the database's answer to `/readyz` is used again."""
METHODS = (b"GET", b"HEAD", b"POST")

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
AsgiApp = Callable[[Any, Receive, Send], Awaitable[None]]


class GuardedProtocol(H11Protocol):
    """One connection. `trusted` are the proxies, whose connections carry many users."""

    trusted: ClassVar[Sequence[Network]] = ()
    most: ClassVar[int] = MAX_CONNECTIONS
    _open: ClassVar[Counter[str]] = Counter()
    _address = ""
    """Of the other end; limits count by `_counted`, which is a /64 for IPv6."""
    _counted = ""
    _watched: object = None
    _is_chunked = False
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        # asyncio does so itself only where the listener was made with the protocol's number.
        # Else the body of an answer waits 40 ms for the browser to acknowledge its head.
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
        """Return whether it has to go. Half of the places are for proxies, where there are any."""
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
        return False  # uvicorn would look for a WebSocket library, and miss it in the log

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
        # A body in chunks of a byte takes seconds to parse. It is refused, so nothing of it is.
        self._is_chunked = waits_for is h11.SEND_BODY and _is_chunked(self.headers)
        seconds = {h11.IDLE: HEAD_SECONDS, h11.SEND_BODY: BODY_SECONDS}.get(waits_for)
        if seconds is not None:
            self._deadline = self.loop.call_later(seconds, self.transport.abort)

    def _unset_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def protocol(trusted: Sequence[Network], most: int = MAX_CONNECTIONS) -> type[GuardedProtocol]:
    """Return the protocol class for one server behind these proxies."""
    return type(
        "Protocol", (GuardedProtocol,), {"trusted": trusted, "most": most, "_open": Counter()}
    )


def application(trusted: Sequence[Network]) -> AsgiApp:
    """Return the console as an ASGI application behind these proxies."""
    pages = answer_health(count(limit_time(get_asgi_application())))
    return behind_proxies(limit_requests(pages), trusted)


def behind_proxies(app: AsgiApp, trusted: Sequence[Network]) -> AsgiApp:
    """Wrap an ASGI application: take address and scheme from the headers of a trusted proxy.

    `doctor` gets them as they arrive.
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
    """Return the answer to a head that Django would answer with an error of ours, or None."""
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
    """Return the stated length of the body, or -1."""
    length = headers.get(b"content-length", b"0")
    return int(length) if length.isdigit() else -1


def limit_requests(app: AsgiApp) -> AsgiApp:
    """Wrap an ASGI application: refuse odd heads and long bodies, and let `MAX_REQUESTS` run.

    Only a request whose body has come takes one of these places. Django itself would read a whole
    body, to disk if it is large, before it checks it. So that strangers do not fill the memory, a
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
                # Django would cancel the form when its sender or the proxy gives up, with the work
                # done and no answer kept for the second sending. It cancels this wait at the end.
                await asyncio.Future()
            return await receive()

        async with room:
            await app(scope, receive_whole, send)

    return limited


def has_session(cookies: str) -> bool:
    """Return whether a request with these cookies comes from someone who is logged in."""
    from django.contrib.auth import SESSION_KEY

    from server.console.sessions import SessionStore

    key = parse_cookie(cookies).get(settings.SESSION_COOKIE_NAME)
    try:
        return bool(key) and SESSION_KEY in SessionStore(key)
    except DatabaseError:
        return False  # the login page says so


def limit_time(app: AsgiApp, *, seconds: float = PAGE_SECONDS) -> AsgiApp:
    """Wrap an ASGI application: answer a page that does not begin in time with 503.

    A form has no such limit: its user has to know how it ended.
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
            # Its thread cannot be stopped, and cancelling would wait for the thread.
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
    """Wrap an ASGI application: count its requests, their time and the class of their answers."""

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
    """Wrap an ASGI application: `/healthz` says that it answers, `/readyz` asks the database.

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
    """Answer without Django."""
    body = text.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
