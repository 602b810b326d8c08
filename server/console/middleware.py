"""What holds for every request: response headers, body size, and the temporary password."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect

log = logging.getLogger(__name__)

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; manifest-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
)
MAX_BODY_BYTES = 2 * 1024 * 1024
"""The largest form or file that is read."""

GetResponse = Callable[[HttpRequest], HttpResponseBase]
View = Callable[..., HttpResponseBase]


class HeadersMiddleware:
    """Sets what browsers must know on every answer; pages are kept in no cache."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        response.headers.setdefault(
            "Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
        )
        response.headers.setdefault("Cache-Control", "no-store")
        return response


def reachable_with_temporary_password(view: View) -> View:
    """Mark a view that a user may reach before the temporary password is changed."""
    view.reachable_with_temporary_password = True  # type: ignore[attr-defined]  # a mark
    return view


class TemporaryPasswordMiddleware:
    """Leads whoever logged in with a temporary password to its change, and nowhere else."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: View, _args: object, _kwargs: object
    ) -> HttpResponse | None:
        user = request.user
        if not user.is_authenticated or not user.must_change_password:
            return None
        if getattr(view, "reachable_with_temporary_password", False):
            return None
        return redirect("password")


PAGE_SECONDS = 20.0
"""How long a page may take to appear. Only a database that stands still takes so long."""

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
AsgiApp = Callable[[Any, Receive, Send], Awaitable[None]]


class _BodyTooLarge(Exception):
    pass


def limit_body(app: AsgiApp, *, max_bytes: int = MAX_BODY_BYTES) -> AsgiApp:
    """Wrap an ASGI application: a longer body gets 413, before it is kept anywhere.

    Django itself reads a whole body, to disk if need be, before it looks at it.
    """

    async def limited(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > max_bytes:
            await _refuse(send)
            return
        seen = 0
        started = False

        async def counted() -> Any:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > max_bytes:
                raise _BodyTooLarge
            return message

        async def noted(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await app(scope, counted, noted)
        except _BodyTooLarge:
            if not started:
                await _refuse(send)

    return limited


def limit_time(app: AsgiApp, *, seconds: float = PAGE_SECONDS) -> AsgiApp:
    """Wrap an ASGI application: a page that does not begin in time gets 503.

    A database that stands still lets nothing else speak. What changes something is left to end,
    however long it takes: whoever sent it has to know how it ended.
    """

    left: set[asyncio.Future[None]] = set()

    def forget(page: asyncio.Future[None]) -> None:
        left.discard(page)
        if not page.cancelled() and (exc := page.exception()) is not None:
            log.warning("a page that was given up has failed: %s", type(exc).__name__)

    async def limited(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"}:
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
            # Its thread cannot be stopped, and cancelling would wait for it.
            given_up = True
            left.add(page)
            page.add_done_callback(forget)
            await _unavailable(send)
        except asyncio.CancelledError:
            page.cancel()
            raise
        else:
            await page

    return limited


async def _unavailable(send: Send) -> None:
    text = (
        "503 The server cannot use its database at the moment. Please try again in a minute.\n"
        "サーバは現在データベースを使用できません。1分ほどしてからやり直してください。\n"
    )
    await _answer(send, 503, text, [(b"retry-after", b"30")])


async def _refuse(send: Send) -> None:
    text = "413 Content Too Large / 送信されたデータが大きすぎます。\n"
    await _answer(send, 413, text, [(b"connection", b"close")])


async def _answer(send: Send, status: int, text: str, more: list[tuple[bytes, bytes]]) -> None:
    """What is said without Django."""
    body = text.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
