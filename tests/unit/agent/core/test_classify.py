"""Each failure of a connection gets a reason that the user can act on.

The exceptions are real: the client's own `open_connection` against servers on this machine.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedError, InvalidStatus, InvalidURI
from websockets.frames import Close
from websockets.http11 import Response

from agent import connection
from agent.address import BadProxy
from agent.core.classify import classify
from agent.core.failure import Failure, Reason
from protocol.messages import MessageError
from protocol.scram import UnusableCredentials, WrongServer
from tests.support.certificates import Authority
from tests.support.listeners import (
    SECRET,
    Talk,
    answered,
    failure,
    http,
    listening,
    says,
    silent,
)
from tests.support.ports import free_port

R = Reason


async def test_no_server_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server: the port is closed, the name is unknown, or no answer comes."""
    result = await failure(f"ws://127.0.0.1:{free_port()}/gateway")
    assert (result.reason, result.may_end_soon) == (R.UNREACHABLE, True)
    assert (await failure("wss://no-such-host.invalid/gateway")).reason is R.NO_SUCH_HOST
    monkeypatch.setattr(connection, "OPEN_S", 0.3)
    assert (await answered(silent)).reason is R.TIMED_OUT


# --- HTTP

LATER = {
    "401 Unauthorized": R.HTTP_UNAUTHORIZED, "403 Forbidden": R.HTTP_FORBIDDEN,
    "407 Proxy Authentication Required": R.PROXY_LOGIN, "429 Too Many": R.TOO_MANY_REQUESTS,
    "511 Network Authentication Required": R.NOT_A_GATEWAY,
}  # fmt: skip
SOON = {
    "404 Not Found": R.NO_GATEWAY, "426 Upgrade Required": R.NO_GATEWAY, "501 No": R.NO_GATEWAY,
    "505 No": R.NO_GATEWAY, "408 No": R.UNAVAILABLE, "499 No": R.UNAVAILABLE,
    "500 No": R.UNAVAILABLE, "503 No": R.UNAVAILABLE, "530 ": R.UNAVAILABLE,  # Cloudflare
    "403 Site Disabled": R.UNAVAILABLE,  # Azure, stopped
}  # fmt: skip


@pytest.mark.parametrize("status", [*LATER, *SOON])
async def test_statuses(status: str) -> None:
    """Each HTTP status that a user can act on has its own reason, and keeps its Retry-After."""
    result = await answered(http(status, "Retry-After: 90"))
    assert result.reason is {**LATER, **SOON}[status]
    assert result.may_end_soon is (status in SOON)
    assert (result.detail, result.retry_after_s) == (f"HTTP {status[:3]}", 90)


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with a page that never ends; the client must not wait for its end."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
    await reader.read()


ACCEPT = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: wrong")
TALKS: list[tuple[Talk | bytes, Reason]] = [
    # a proxy answers because the gateway is down
    (b"HTTP/1.0 503 No\r\nConnection: close\r\n\r\n<html>", R.UNAVAILABLE),  # old haproxy
    (b"HTTP/1.1 530 \r\nTransfer-Encoding: gzip, chunked\r\n\r\nz", R.UNAVAILABLE),  # Cloudflare
    (b"HTTP/1.1 504 No\r\nContent-Length: 900\r\n\r\ncut off", R.UNAVAILABLE),  # Azure
    (b"HTTP/1.1 502 No\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 100, R.UNAVAILABLE),
    (endless, R.UNAVAILABLE),
    # the final status counts, with or without a phrase
    (b"HTTP/1.1 503\r\n\r\n", R.UNAVAILABLE),
    (b"HTTP/1.0 404\r\nA: b\r\n\r\n", R.NO_GATEWAY),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 No\r\n\r\n", R.UNAVAILABLE),
    (b"HTTP/1.1 103 A\r\n\r\nHTTP/1.1 102\r\n\r\nHTTP/1.1 404\r\n\r\n", R.NO_GATEWAY),
    (b"HTTP/1.1 100\r\n\r\n", R.CONNECTION_LOST),
    (b"HTTP/1.1 100\r\n\r\n" * 50, R.NOT_A_GATEWAY),
    (b"HTTP/1.1 5x3\r\n\r\n", R.NOT_A_GATEWAY),
    # a captive portal, or no HTTP; the client follows no redirect
    (http("200 OK", body=SECRET), R.NOT_A_GATEWAY),
    (http("302 No", f"Location: //{SECRET}/"), R.NOT_A_GATEWAY),
    (http("302 Found", "Location: http://portal.example/"), R.NOT_A_GATEWAY),
    (http("302 Found"), R.NOT_A_GATEWAY),
    (http("101 Yes"), R.NOT_A_GATEWAY),
    (http("101 Yes", *ACCEPT), R.NOT_A_GATEWAY),
    (f"{SECRET} SMTP\r\n".encode(), R.NOT_A_GATEWAY),
    # a redirect on the same host comes from a web server; a portal sends no Retry-After
    (http("302 Found", "Location: /login/?next=/gateway"), R.NO_GATEWAY),
    (http("302 Found", "Location: /x", "Location: /y"), R.NO_GATEWAY),
    (http("200 OK", "Retry-After: 600", body="Maintenance"), R.UNAVAILABLE),
    (http("302 Found", "Location: http://x.example/", "Retry-After: 9"), R.UNAVAILABLE),
    # an answer that breaks off
    (b"", R.CONNECTION_LOST),
    (b"HTTP/1.1 101 Swit", R.CONNECTION_LOST),
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize(("talk", "reason"), TALKS)
async def test_answers_of_others(talk: Talk | bytes, reason: Reason) -> None:
    """Answers of proxies, web servers and portals get their reason; none is quoted."""
    result = await answered(says(talk) if isinstance(talk, bytes) else talk)
    assert result.reason is reason
    assert SECRET not in repr(result)


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300, b"\x15\x03\x01\x00\x02\x02\x16"]
)
async def test_an_answer_that_may_end_in_a_reset(answer: bytes) -> None:
    """A refusal counts even if the connection is reset before the answer is read."""
    assert (await answered(says(answer))).reason in {R.NOT_A_GATEWAY, R.CONNECTION_LOST}


NOON = "Mon, 23 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (["Retry-After: 0"], 0.0),
        (["Retry-After: 999999999999"], 3600.0),
        ([f"Date: {NOON}", "Retry-After: Mon, 23 Nov 2026 12:02:30 GMT"], 150.0),
        ([f"Date: {NOON}", "Retry-After: Sun, 22 Nov 2026 12:00:00 GMT"], 0),
        ([f"Retry-After: {NOON}"], None),
        (["Retry-After: soon"], None),
        (["Retry-After: -5"], None),
        (["Retry-After: 1.5"], None),
        (["Retry-After: 5", "Retry-After: 7"], None),
        # an impossible time zone raises no exception
        ([f"Date: {NOON}", "Retry-After: Mon, 23 Nov 2026 07:00:00 +99999999999999"], None),
        ([f"Date: {NOON}", "Retry-After: Mon, 23 Nov 2026 07:00:00 -0000"], None),
    ],
)
def test_retry_after(headers: list[str], seconds: float | None) -> None:
    """Retry-After is read as seconds, or as a date by the server's clock; others are ignored."""
    response = Response(503, "", Headers())
    for name, _, value in (each.partition(": ") for each in headers):
        response.headers[name] = value
    assert classify(InvalidStatus(response), proxy=None).retry_after_s == seconds


# --- TLS


async def over_tls(tls: ssl.SSLContext) -> Failure:
    async with listening(http("503 Service Unavailable"), tls=tls) as port:
        return await failure(f"wss://localhost:{port}/gateway")


@pytest.mark.skipif(sys.platform != "linux", reason="SSL_CERT_FILE is how Linux trusts a test")
@pytest.mark.parametrize(
    ("name", "days", "trusted", "expected"),
    [
        ("localhost", (-1, 30), True, R.UNAVAILABLE),
        ("localhost", (-1, 30), False, R.CERTIFICATE),
        ("elsewhere.example", (-1, 30), True, R.CERTIFICATE),
        ("localhost", (-30, -1), True, R.CERTIFICATE),
    ],
)
async def test_certificates(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    name: str,
    days: tuple[int, int],
    trusted: bool,
    expected: Reason,
) -> None:
    """A certificate must come from a trusted authority, name this host, and be valid now."""
    authority = Authority(tmp_path)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    assert (await over_tls(authority.context(name, days=days))).reason is expected


def alert(number: int) -> bytes:
    """Return a fatal alert (RFC 8446, 6)."""
    return bytes([21, 3, 3, 0, 2, 2, number])


@pytest.mark.parametrize(
    ("answer", "reasons", "soon"),
    [
        # handshake failure, bad certificate (of the client), internal error, unrecognized name
        *((alert(number), {R.TLS}, True) for number in (40, 42, 80, 112)),
        # protocol version, insufficient security
        *((alert(number), {R.TLS_VERSION}, False) for number in (70, 71)),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", {R.NOT_A_GATEWAY}, False),
        (b"", {R.CONNECTION_LOST, R.UNREACHABLE}, True),
    ],
)
async def test_alerts_of_tls(answer: bytes, reasons: set[Reason], *, soon: bool) -> None:
    """An alert, HTTP, or a close before any certificate is not taken for a bad certificate."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Read the whole ClientHello, or the close becomes a reset.
        length = int.from_bytes((await reader.readexactly(5))[3:])
        await reader.readexactly(length)
        writer.write(answer)
        await writer.drain()
        if not answer:
            writer.transport.abort()
        await reader.read()

    async with listening(talk) as port:
        result = await failure(f"wss://localhost:{port}/gateway")
    assert result.reason in reasons
    assert result.may_end_soon is soon


# --- open connections


async def closes(socket: ServerConnection) -> None:
    await socket.close(1012, SECRET)


async def is_cut(socket: ServerConnection) -> None:
    socket.transport.abort()


async def sends_too_much(socket: ServerConnection) -> None:
    await socket.send("x" * 16_385)
    await socket.wait_closed()


async def is_dead(socket: ServerConnection) -> None:
    """Stop answering pings."""
    socket.transport.pause_reading()
    await socket.wait_closed()


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (closes, Failure(R.SHUTTING_DOWN, detail="closed with 1012")),
        (is_cut, Failure(R.CONNECTION_LOST, detail="closed with 1006")),
        (sends_too_much, Failure(R.PROTOCOL, detail="closed by us with 1009")),
        (is_dead, Failure(R.TIMED_OUT, detail="no answer to pings")),
    ],
)
async def test_how_a_connection_ends(
    end: Callable[[ServerConnection], Awaitable[None]], expected: Failure
) -> None:
    """Each end has its reason: a close, a network failure, a large message, or no pong."""
    ping_s = 0.1 if end is is_dead else 20
    async with (
        serve(end, "127.0.0.1", 0, close_timeout=0.2) as listening,
        connect(
            f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}/",
            max_size=16_384,
            ping_interval=ping_s,
            ping_timeout=ping_s,
            close_timeout=0.1,
        ) as client,
    ):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is what is asked
            await client.recv()
    assert classify(caught.value, proxy=None) == expected


LOST, DOWN = R.CONNECTION_LOST, R.SHUTTING_DOWN


@pytest.mark.parametrize(
    ("received", "sent", "echoed", "reason", "detail"),
    [
        *((code, code, True, LOST, f"closed with {code}") for code in (1000, 1011, 4000)),
        *((code, code, True, DOWN, f"closed with {code}") for code in (1001, 1013)),
        *((code, code, True, R.PROTOCOL, f"closed with {code}") for code in (1002, 1007, 1010)),
        *((1000, code, False, R.PROTOCOL, f"closed by us with {code}") for code in (1003, 1008)),
        *((1001, code, True, DOWN, "closed with 1001") for code in (1011, 1002)),
        (None, 1000, None, LOST, "closed with 1006"),
    ],
)
def test_close_codes(
    received: int | None, sent: int, *, echoed: bool | None, reason: Reason, detail: str
) -> None:
    """The close code of the side that closed first decides the reason."""
    theirs = Close(received, SECRET) if received else None
    closed = ConnectionClosedError(theirs, Close(sent, SECRET), rcvd_then_sent=echoed)
    assert classify(closed, proxy=None) == Failure(reason, detail=detail)


@pytest.mark.parametrize(
    ("error", "proxy", "reason", "detail"),
    [
        (TimeoutError(), None, R.TIMED_OUT, "TimeoutError"),
        (socket.gaierror(-2, "x"), None, R.NO_SUCH_HOST, "gaierror -2"),
        (socket.gaierror(-2, "x"), "socks5://proxy:1080", R.NO_SUCH_HOST, "gaierror -2"),
        (socket.gaierror(-2, "x"), "http://proxy:80", R.PROXY_UNREACHABLE, "gaierror -2"),
        (ConnectionResetError(104, "x"), None, LOST, "ConnectionResetError 104"),
        (ConnectionAbortedError(), None, LOST, "ConnectionAbortedError"),
        (BrokenPipeError(), "http://proxy:80", LOST, "BrokenPipeError"),
        (OSError(113, "x"), "http://proxy:80", R.PROXY_UNREACHABLE, "OSError 113"),
        (OSError(113, "x"), None, R.UNREACHABLE, "OSError 113"),
        (ssl.SSLEOFError(), None, LOST, "SSLEOFError"),
        (ssl.SSLZeroReturnError(), None, LOST, "SSLZeroReturnError"),
        (InvalidURI("x", "y"), None, R.NOT_A_GATEWAY, "InvalidURI"),
        (RuntimeError(SECRET), None, R.INTERNAL, "RuntimeError"),
        (WrongServer("ours"), None, R.IMPOSTOR, "ours"),
        (UnusableCredentials("ours"), None, R.CREDENTIALS, "ours"),
        (MessageError("ours"), None, R.PROTOCOL, "ours"),
        (BadProxy("ours"), "http://proxy:1", R.PROXY_SETTING, "ours"),
    ],
)
def test_other_errors(error: Exception, proxy: str | None, reason: Reason, detail: str) -> None:
    """Other errors keep type and number, no text; with a proxy, the proxy is the cause."""
    assert classify(error, proxy=proxy) == Failure(reason, detail=detail)
