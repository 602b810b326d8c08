"""Apply the rules of every request: headers, logins, temporary passwords, limits of the body."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect

from server.addresses import Network, client_address, is_trusted
from server.console.hashing import Busy
from server.console.problems import busy
from server.console.sessions import note_use

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
    """Set the headers of every answer; browsers keep pages in no cache."""

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
        if is_poll(request):
            # It may have been under way while a form was answered with a new session.
            response.cookies.clear()
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer Busy, raised below any form, with a page that says so."""
        return busy(request) if isinstance(exception, Busy) else None


def reachable_with_temporary_password(view: View) -> View:
    """Mark a view that a user may reach before the temporary password is changed."""
    view.reachable_with_temporary_password = True  # type: ignore[attr-defined]  # a mark
    return view


def is_poll(request: HttpRequest) -> bool:
    """Return whether the script of an open page asks for a part of it."""
    return request.path.startswith(("/live/", "/app/live/"))


class LoginMiddleware(LoginRequiredMiddleware):
    """Ask for a login as Django does, but answer polls with 401; note the use of the session."""

    def process_view(
        self, request: HttpRequest, view: View, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> HttpResponseBase | None:
        """Return None when the view may run."""
        refused = super().process_view(request, view, args, kwargs)
        if is_poll(request):
            return HttpResponse(status=401) if refused else None
        if request.user.is_authenticated:
            note_use(request)
        return refused


class TemporaryPasswordMiddleware:
    """Lead a user who logged in with a temporary password to its change, and nowhere else."""

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
"""How long a page may take. Only a database that does not answer takes so long."""

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
AsgiApp = Callable[[Any, Receive, Send], Awaitable[None]]


def behind_proxies(app: AsgiApp, trusted: Sequence[Network]) -> AsgiApp:
    """Wrap an ASGI application: take address and scheme from the headers of a trusted proxy."""

    async def put_right(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and trusted and is_trusted(scope["client"][0], trusted):
            headers = [(name, value.decode("latin-1")) for name, value in scope["headers"]]
            hops = [value for name, value in headers if name == b"x-forwarded-for"]
            address = client_address(scope["client"][0], hops, trusted)
            scheme = dict(headers).get(b"x-forwarded-proto", scope["scheme"]).strip().lower()
            scheme = scheme if scheme in {"http", "https"} else scope["scheme"]
            scope = scope | {"client": (address, 0), "scheme": scheme}
        await app(scope, receive, send)

    return put_right


METHODS = {"GET", "HEAD", "POST", "OPTIONS"}
_charset = re.compile(rb"charset\s*=\s*[\"']?([^\"';\s]*)", re.IGNORECASE)


def check_head(app: AsgiApp) -> AsgiApp:
    """Wrap an ASGI application: refuse heads that Django would answer with an error of ours."""

    async def checked(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            charset = _charset.search(dict(scope["headers"]).get(b"content-type", b""))
            if scope["method"] not in METHODS:
                allow = (b"allow", ", ".join(sorted(METHODS)).encode())
                await _answer(send, 405, "405 Method Not Allowed\n", [allow])
                return
            if not scope["path"].startswith("/") or "\0" in scope["path"]:
                await _answer(send, 400, "400 Bad Request\n", [])
                return
            if charset is not None and charset[1].lower() not in {b"utf-8", b"utf8"}:
                await _answer(send, 415, "415 Unsupported Media Type: send UTF-8\n", [])
                return
        await app(scope, receive, send)

    return checked


class _BodyTooLarge(Exception):
    pass


def limit_body(app: AsgiApp, *, max_bytes: int = MAX_BODY_BYTES) -> AsgiApp:
    """Wrap an ASGI application: answer a longer body with 413, before it is kept anywhere.

    Django itself reads a whole body, to disk if it is large, before it checks it.
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
    """Wrap an ASGI application: answer a page that does not begin in time with 503.

    A form has no such limit: its user has to know how it ended.
    """
    left: set[asyncio.Future[None]] = set()

    def forget(page: asyncio.Future[None]) -> None:
        left.discard(page)
        if not page.cancelled() and (exc := page.exception()) is not None:
            log.warning("page failed after its time limit: %s", type(exc).__name__)

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
            # Its thread cannot be stopped, and cancelling would wait for the thread.
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
