"""Each way in which a connection fails has a reason that a user can act on.

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
from agent.core.failure import Failure, Patience, Reason
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
    unused_port,
)

# --- the way there


async def test_no_server_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """No program listens there, no name server knows the name, or the server says nothing."""
    result = await failure(f"ws://127.0.0.1:{await unused_port()}/gateway")
    assert (result.reason, result.patience) == (Reason.UNREACHABLE, Patience.SOON)
    assert (await failure("wss://no-such-host.invalid/gateway")).reason is Reason.NO_SUCH_HOST
    monkeypatch.setattr(connection, "OPEN_S", 0.3)
    assert (await answered(silent)).reason is Reason.TIMED_OUT


# --- HTTP


@pytest.mark.parametrize(
    ("status", "reason", "patience"),
    [
        ("401 Unauthorized", Reason.HTTP_UNAUTHORIZED, Patience.LATER),
        ("403 Forbidden", Reason.HTTP_FORBIDDEN, Patience.LATER),
        ("404 Not Found", Reason.NO_GATEWAY, Patience.SOON),
        ("407 Proxy Authentication Required", Reason.PROXY_LOGIN, Patience.LATER),
        ("426 Upgrade Required", Reason.NO_GATEWAY, Patience.SOON),
        ("429 Too Many Requests", Reason.TOO_MANY_REQUESTS, Patience.LATER),
        *((f"{code} No", Reason.UNAVAILABLE, Patience.SOON) for code in (408, 499, 500, 502, 503)),
        *((f"{code} No", Reason.NO_GATEWAY, Patience.SOON) for code in (501, 505)),
        ("511 Network Authentication Required", Reason.NOT_A_GATEWAY, Patience.LATER),
    ],
)
async def test_statuses(status: str, reason: Reason, patience: Patience) -> None:
    """Each status that a user can do something about has its own reason."""
    result = await answered(http(status))
    assert (result.reason, result.patience) == (reason, patience)
    assert result.detail == f"HTTP {status[:3]}"
    assert result.retry_after_s is None


NO_HTTP = {Reason.NOT_A_GATEWAY, Reason.CONNECTION_LOST}
PAGE = "<html><head><title>502 Bad Gateway</title></head></html>"


@pytest.mark.parametrize(
    ("status", "headers", "page"),
    [
        pytest.param("HTTP/1.1 502 Bad Gateway", "Server: nginx", PAGE, id="nginx"),
        pytest.param("HTTP/1.1 503 No", "cache-control: no-cache", PAGE, id="haproxy"),
        pytest.param("HTTP/1.0 503 No", "Connection: close", PAGE, id="haproxy before 2.0"),
        pytest.param("HTTP/1.1 502 No", "Server: Caddy\r\nContent-Length: 0", "", id="Caddy"),
        pytest.param("HTTP/1.1 503 No", "Content-Type: text/plain", "no server", id="Traefik"),
        pytest.param("HTTP/1.1 521 <none>", "Server: cloudflare", PAGE, id="Cloudflare 521"),
        pytest.param("HTTP/1.1 530 ", "Transfer-Encoding: gzip, chunked", "z", id="Cloudflare 530"),
        pytest.param("HTTP/1.1 403 Site Disabled", "Content-Type: a/b", PAGE, id="Azure, stopped"),
        pytest.param("HTTP/1.1 504 Gateway Timeout", "Content-Length: 900", "cut off", id="Azure"),
        pytest.param("HTTP/1.1 502 No", "Content-Length: 3000000", "x" * 100, id="3 MB"),
    ],
)
async def test_what_answers_for_a_gateway_that_is_away(
    status: str, headers: str, page: str
) -> None:
    """A proxy's answer for a gateway that is away is `unavailable`; `Retry-After` counts."""
    head = f"{status}\r\n{headers}\r\nRetry-After: 90\r\n\r\n"
    result = await answered(says(head.encode() + page.encode()))
    assert (result.reason, result.patience) == (Reason.UNAVAILABLE, Patience.SOON)
    assert result.retry_after_s == 90


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 503\r\n\r\n", Reason.UNAVAILABLE),
        (b"HTTP/1.0 404\r\nA: b\r\n\r\n", Reason.NO_GATEWAY),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 No\r\n\r\n", Reason.UNAVAILABLE),
        (
            b"HTTP/1.1 103 A\r\n\r\nHTTP/1.1 102\r\n\r\nHTTP/1.1 404\r\n\r\n",
            Reason.NO_GATEWAY,
        ),
        (b"HTTP/1.1 100\r\n\r\n", Reason.CONNECTION_LOST),
        (b"HTTP/1.1 100\r\n\r\n" * 50, Reason.NOT_A_GATEWAY),
        (b"HTTP/1.1 5x3\r\n\r\n", Reason.NOT_A_GATEWAY),
    ],
)
async def test_answers_without_a_phrase_or_after_others(answer: bytes, reason: Reason) -> None:
    """The status of the real answer counts; a server that sends no real one is no gateway."""
    assert (await answered(says(answer))).reason is reason


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with a page that never ends: the client does not wait for it."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
    await reader.read()


ACCEPT = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: wrong")
STRANGERS = [
    http("200 OK", body=SECRET),  # a captive portal
    http("302 No", f"Location: //{SECRET}/"),
    http("302 Found", "Location: http://portal.example/"),
    http("302 Found"),
    http("101 Yes"),
    http("101 Yes", *ACCEPT),
    says(f"{SECRET} SMTP\r\n".encode()),
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("talk", "reasons"),
    [
        *((talk, {Reason.NOT_A_GATEWAY}) for talk in STRANGERS),
        (says(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300), NO_HTTP),
        (says(b"\x15\x03\x01\x00\x02\x02\x16"), NO_HTTP),
        # A redirect on the same host is a web server's, and a portal names no time to come back.
        (http("302 Found", "Location: /login/?next=/gateway"), {Reason.NO_GATEWAY}),
        (http("302 Found", "Location: /x", "Location: /y"), {Reason.NO_GATEWAY}),
        (http("200 OK", "Retry-After: 600", body="Maintenance"), {Reason.UNAVAILABLE}),
        (http("302 Found", "Location: http://x.example/", "Retry-After: 9"), {Reason.UNAVAILABLE}),
        (endless, {Reason.UNAVAILABLE}),
        (says(b""), {Reason.CONNECTION_LOST}),
        (says(b"HTTP/1.1 101 Swit"), {Reason.CONNECTION_LOST}),
    ],
)
async def test_captive_portals_and_redirects_are_no_gateways(
    talk: Talk, reasons: set[Reason]
) -> None:
    """A hotel's login page, a redirect (none is followed), no web server, or half an answer."""
    result = await answered(talk)
    assert result.reason in reasons
    assert SECRET not in repr(result)


NOON = "Mon, 23 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (["Retry-After: 120"], 120.0),
        (["Retry-After: 0"], 0.0),
        (["Retry-After: 999999999999"], 3600.0),
        ([f"Date: {NOON}", "Retry-After: Mon, 23 Nov 2026 12:02:30 GMT"], 150.0),
        ([f"Date: {NOON}", "Retry-After: Sun, 22 Nov 2026 12:00:00 GMT"], 0),
        ([f"Retry-After: {NOON}"], None),
        (["Retry-After: soon"], None),
        (["Retry-After: -5"], None),
        (["Retry-After: 1.5"], None),
        (["Retry-After: 5", "Retry-After: 7"], None),
    ],
)
@pytest.mark.parametrize(
    ("status", "reason"), [("429 No", Reason.TOO_MANY_REQUESTS), ("503 No", Reason.UNAVAILABLE)]
)
async def test_retry_after(
    status: str, reason: Reason, headers: list[str], seconds: float | None
) -> None:
    """Seconds or a date, which counts by the server's own clock; anything else is ignored."""
    result = await answered(http(status, *headers))
    assert (result.reason, result.retry_after_s) == (reason, seconds)


@pytest.mark.parametrize("zone", ["+99999999999999", "-0000"])
def test_retry_after_in_an_odd_zone(zone: str) -> None:
    """No value raises an exception, which would hide that the connection has ended."""
    date = "Mon, 23 Nov 2026 07:00:00"
    headers = Headers({"Retry-After": f"{date} {zone}", "Date": f"{date} GMT"})
    assert classify(InvalidStatus(Response(503, "", headers)), proxy=None).retry_after_s is None


# --- TLS


async def over_tls(tls: ssl.SSLContext, talk: Talk | None = None) -> Failure:
    async with listening(talk or http("503 Service Unavailable"), tls=tls) as port:
        return await failure(f"wss://localhost:{port}/gateway")


async def test_a_certificate_of_an_unknown_authority(tmp_path: Path) -> None:
    """The connection ends there, whatever the server would have said."""
    result = await over_tls(Authority(tmp_path).context("localhost"))
    assert (result.reason, result.patience) == (Reason.CERTIFICATE, Patience.LATER)


@pytest.mark.skipif(sys.platform != "linux", reason="SSL_CERT_FILE is how Linux trusts a test")
@pytest.mark.parametrize(
    ("name", "days", "expected"),
    [
        pytest.param("localhost", (-1, 30), Reason.UNAVAILABLE, id="good"),
        pytest.param("elsewhere.example", (-1, 30), Reason.CERTIFICATE, id="another's"),
        pytest.param("localhost", (-30, -1), Reason.CERTIFICATE, id="expired"),
    ],
)
async def test_a_certificate_of_a_trusted_authority(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    days: tuple[int, int],
    expected: Reason,
) -> None:
    """Trusted alone is not enough: it has to be this host's, and valid now."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    assert (await over_tls(authority.context(name, days=days))).reason is expected


def alert(number: int) -> bytes:
    """Return a fatal alert (RFC 8446, 6)."""
    return bytes([21, 3, 3, 0, 2, 2, number])


@pytest.mark.parametrize(
    ("answer", "reasons", "patience"),
    [
        # handshake failure, bad certificate (of the client), internal error, unrecognized name
        *((alert(number), {Reason.TLS}, Patience.SOON) for number in (40, 42, 80, 112)),
        # protocol version, insufficient security
        *((alert(number), {Reason.TLS_VERSION}, Patience.LATER) for number in (70, 71)),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", {Reason.NOT_A_GATEWAY}, Patience.LATER),
        (b"", {Reason.CONNECTION_LOST, Reason.UNREACHABLE}, Patience.SOON),
    ],
)
async def test_alerts_of_tls(answer: bytes, reasons: set[Reason], patience: Patience) -> None:
    """Before any certificate an alert says nothing about one; nor do HTTP and hanging up."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The whole hello is read, so that the close is no reset.
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
    assert result.patience is patience


# --- open connections


async def closes(socket: ServerConnection) -> None:
    await socket.close(1012, SECRET)


async def is_cut(socket: ServerConnection) -> None:
    socket.transport.abort()


async def sends_too_much(socket: ServerConnection) -> None:
    await socket.send("x" * 16_385)
    await socket.wait_closed()


async def is_dead(socket: ServerConnection) -> None:
    """Answer no ping."""
    socket.transport.pause_reading()
    await socket.wait_closed()


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (closes, Failure(Reason.SHUTTING_DOWN, detail="closed with 1012")),
        (is_cut, Failure(Reason.CONNECTION_LOST, detail="closed with 1006")),
        (sends_too_much, Failure(Reason.PROTOCOL, detail="closed by us with 1009")),
        (is_dead, Failure(Reason.TIMED_OUT, detail="no answer to pings")),
    ],
)
async def test_how_a_connection_ends(
    end: Callable[[ServerConnection], Awaitable[None]], expected: Failure
) -> None:
    """The server closes, the network fails, a message is too large, or no pong comes."""
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


CLOSE_CODES = {
    **dict.fromkeys((1000, 1011, 4000), Reason.CONNECTION_LOST),
    **dict.fromkeys((1001, 1012, 1013), Reason.SHUTTING_DOWN),
    **dict.fromkeys((1002, 1003, 1007, 1008, 1009, 1010), Reason.PROTOCOL),
}


@pytest.mark.parametrize(
    ("received", "sent", "echoed", "expected"),
    [
        *(
            (code, code, True, Failure(reason, detail=f"closed with {code}"))
            for code, reason in CLOSE_CODES.items()
        ),
        *(
            (1000, code, False, Failure(Reason.PROTOCOL, detail=f"closed by us with {code}"))
            for code in (1002, 1003, 1007, 1008, 1009, 1010)
        ),
        (1001, 1011, True, Failure(Reason.SHUTTING_DOWN, detail="closed with 1001")),
        (1001, 1002, True, Failure(Reason.SHUTTING_DOWN, detail="closed with 1001")),
        (None, 1000, None, Failure(Reason.CONNECTION_LOST, detail="closed with 1006")),
    ],
)
def test_close_codes(
    received: int | None, sent: int, *, echoed: bool | None, expected: Failure
) -> None:
    """The server's code says why; the client's own counts unless it only answers the server's."""
    theirs = Close(received, SECRET) if received else None
    closed = ConnectionClosedError(theirs, Close(sent, SECRET), rcvd_then_sent=echoed)
    assert classify(closed, proxy=None) == expected


@pytest.mark.parametrize(
    ("error", "proxy", "reason", "detail"),
    [
        (TimeoutError(), None, Reason.TIMED_OUT, "TimeoutError"),
        (socket.gaierror(-2, "x"), None, Reason.NO_SUCH_HOST, "gaierror -2"),
        (socket.gaierror(-2, "x"), "socks5://proxy:1080", Reason.NO_SUCH_HOST, "gaierror -2"),
        (socket.gaierror(-2, "x"), "http://proxy:80", Reason.PROXY_UNREACHABLE, "gaierror -2"),
        (ConnectionResetError(104, "x"), None, Reason.CONNECTION_LOST, "ConnectionResetError 104"),
        (ConnectionAbortedError(), None, Reason.CONNECTION_LOST, "ConnectionAbortedError"),
        (BrokenPipeError(32, "x"), None, Reason.CONNECTION_LOST, "BrokenPipeError 32"),
        (BrokenPipeError(), "http://proxy:80", Reason.CONNECTION_LOST, "BrokenPipeError"),
        (OSError(113, "x"), "http://proxy:80", Reason.PROXY_UNREACHABLE, "OSError 113"),
        (OSError(113, "x"), None, Reason.UNREACHABLE, "OSError 113"),
        (ssl.SSLEOFError(), None, Reason.CONNECTION_LOST, "SSLEOFError"),
        (ssl.SSLZeroReturnError(), None, Reason.CONNECTION_LOST, "SSLZeroReturnError"),
        (InvalidURI("x", "y"), None, Reason.NOT_A_GATEWAY, "InvalidURI"),
        (RuntimeError(SECRET), None, Reason.INTERNAL, "RuntimeError"),
        (WrongServer("ours"), None, Reason.IMPOSTOR, "ours"),
        (UnusableCredentials("ours"), None, Reason.CREDENTIALS, "ours"),
        (MessageError("ours"), None, Reason.PROTOCOL, "ours"),
        (BadProxy("ours"), "http://proxy:1", Reason.PROXY_SETTING, "ours"),
    ],
)
def test_errors_of_the_operating_system(
    error: Exception, proxy: str | None, reason: Reason, detail: str
) -> None:
    """Type and number are kept, and no text; with a proxy the first hop is to blame."""
    assert classify(error, proxy=proxy) == Failure(reason, detail=detail)
