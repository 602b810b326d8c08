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
from hypothesis import example, given
from hypothesis import strategies as st
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
from protocol.scram import WrongServer
from tests.support.certificates import Authority
from tests.support.listeners import (
    SECRET,
    Talk,
    answered,
    failure,
    http,
    listening,
    says,
    unused_port,
)

printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)


# --- the way there


async def test_refused() -> None:
    """No program listens on the server's port."""
    result = await failure(f"ws://127.0.0.1:{await unused_port()}/gateway")
    assert (result.reason, result.patience) == (Reason.UNREACHABLE, Patience.SOON)


async def test_no_such_host() -> None:
    """The name server does not know the name, or there is none."""
    result = await failure("wss://no-such-host.invalid/gateway")
    assert result.reason is Reason.NO_SUCH_HOST


async def test_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that accepts the connection and sends nothing is `timed_out`."""
    monkeypatch.setattr(connection, "OPEN_S", 0.3)
    released = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await released.wait()

    async with listening(silent) as port:
        result = await failure(f"ws://127.0.0.1:{port}/gateway")
        released.set()
    assert result.reason is Reason.TIMED_OUT


async def test_closed_in_the_middle_of_the_upgrade() -> None:
    """A connection that ends during the upgrade is `connection_lost`."""
    assert (await answered(says(b""))).reason is Reason.CONNECTION_LOST
    assert (await answered(says(b"HTTP/1.1 101 Swit"))).reason is Reason.CONNECTION_LOST


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


PAGE = "<html><head><title>502 Bad Gateway</title></head></html>"
IN_FRONT = {
    # the proxy in front of a gateway that is away: its answer
    "nginx": ("HTTP/1.1 502 Bad Gateway", "Server: nginx", PAGE),
    "haproxy": ("HTTP/1.1 503 Service Unavailable", "cache-control: no-cache", PAGE),
    "haproxy before 2.0": ("HTTP/1.0 503 Service Unavailable", "Connection: close", PAGE),
    "Caddy": ("HTTP/1.1 502 Bad Gateway", "Server: Caddy\r\nContent-Length: 0", ""),
    "Traefik": ("HTTP/1.1 503 Service Unavailable", "Content-Type: text/plain", "no server"),
    "Cloudflare 521": ("HTTP/1.1 521 <none>", "Server: cloudflare", PAGE),
    "Cloudflare 530": ("HTTP/1.1 530 ", "Transfer-Encoding: gzip, chunked", "zzz"),
    "Azure, stopped": ("HTTP/1.1 403 Site Disabled", "Content-Type: text/html", PAGE),
    "Azure Front Door": ("HTTP/1.1 504 Gateway Timeout", "Content-Length: 900", "cut off"),
    "AWS": ("HTTP/1.1 504 Gateway Time-out", "Server: awselb/2.0", PAGE),
    "a page of 3 MB": ("HTTP/1.1 502 Bad Gateway", "Content-Length: 3000000", "x" * 100),
}


@pytest.mark.parametrize("proxy", IN_FRONT)
async def test_what_answers_for_a_gateway_that_is_away(proxy: str) -> None:
    """A proxy's answer for a gateway that is away is `unavailable`; `Retry-After` counts."""
    status, headers, page = IN_FRONT[proxy]
    head = f"{status}\r\n{headers}\r\nRetry-After: 90\r\n\r\n"
    result = await answered(says(head.encode() + page.encode()))
    assert result.reason is Reason.UNAVAILABLE
    assert result.retry_after_s == 90
    assert result.patience is Patience.SOON


async def test_a_page_without_an_end() -> None:
    """The head of the answer is enough; the client does not wait for its page."""

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
        await reader.read()

    async with asyncio.timeout(5):
        assert (await answered(endless)).reason is Reason.UNAVAILABLE


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (http("302 Found", "Location: http://portal.example/"), Reason.NOT_A_GATEWAY),
        (http("302 Found", "Location: //portal.example/"), Reason.NOT_A_GATEWAY),
        (http("302 Found", "Location: /login/?next=/gateway"), Reason.NO_GATEWAY),
        (http("302 Found", "Location: /x", "Location: /y"), Reason.NO_GATEWAY),
        (http("200 OK", "Retry-After: 600", body="Maintenance"), Reason.UNAVAILABLE),
        (http("302 Found", "Location: http://x.example/", "Retry-After: 9"), Reason.UNAVAILABLE),
    ],
)
async def test_what_is_no_login_page_of_a_network(answer: Talk, reason: Reason) -> None:
    """A redirect on the same host is a web server's, and a portal names no time to come back."""
    assert (await answered(answer)).reason is reason


async def test_a_route_that_is_away() -> None:
    """Traefik and Azure answer 404 then, which is no login page of a network."""
    answer = http("404 Not Found", "Content-Type: text/plain", body="404 page not found")
    assert (await answered(answer)).reason is Reason.NO_GATEWAY


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
@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
async def test_retry_after(status: str, headers: list[str], seconds: float | None) -> None:
    """Seconds or a date, which counts by the server's own clock; anything else is ignored."""
    assert (await answered(http(status, *headers))).retry_after_s == seconds


ACCEPT = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: wrong")


@pytest.mark.parametrize(
    ("talk", "reason"),
    [
        pytest.param(http("200 OK", body=SECRET), Reason.NOT_A_GATEWAY, id="captive portal"),
        pytest.param(http("302 No", f"Location: //{SECRET}/"), Reason.NOT_A_GATEWAY, id="moved"),
        pytest.param(http("307 No", "Location: ws://127.0.0.1:9/x"), Reason.NOT_A_GATEWAY, id="ws"),
        pytest.param(http("302 Found"), Reason.NOT_A_GATEWAY, id="redirect without a target"),
        pytest.param(http("101 Yes"), Reason.NOT_A_GATEWAY, id="no accept key"),
        pytest.param(http("101 Yes", *ACCEPT), Reason.NOT_A_GATEWAY, id="wrong accept key"),
        pytest.param(says(f"{SECRET} SMTP\r\n".encode()), Reason.NOT_A_GATEWAY, id="SMTP"),
        pytest.param(says(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300), None, id="many headers"),
        pytest.param(says(b"\x15\x03\x01\x00\x02\x02\x16"), None, id="bytes"),
    ],
)
async def test_captive_portals_and_redirects_are_no_gateways(
    talk: Talk, reason: Reason | None
) -> None:
    """A hotel's login page, a redirect (none is followed), or no web server at all."""
    result = await answered(talk)
    assert result.reason in ({reason} if reason else {Reason.NOT_A_GATEWAY, Reason.CONNECTION_LOST})
    assert SECRET not in repr(result)


@given(printable, printable)
@example("Mon, 23 Nov 2026 07:00:00 +99999999999999", "Mon, 23 Nov 2026 07:00:00 GMT")
@example("Mon, 23 Nov 2026 07:00:00 -0000", "Mon, 23 Nov 2026 07:00:00 GMT")
def test_no_retry_after_makes_classifying_fail(value: str, date: str) -> None:
    """No value raises an exception, which would hide that the connection has ended."""
    headers = Headers({"Retry-After": value, "Date": date})
    wait = classify(InvalidStatus(Response(503, "", headers)), proxy=None).retry_after_s
    assert wait is None or 0 <= wait <= 3600


# --- TLS


async def over_tls(tls: ssl.SSLContext, talk: Talk | None = None) -> Failure:
    async with listening(talk or http("503 Service Unavailable"), tls=tls) as port:
        return await failure(f"wss://localhost:{port}/gateway")


async def test_a_certificate_of_an_unknown_authority(tmp_path: Path) -> None:
    """The connection ends there, whatever the server would have said."""
    result = await over_tls(Authority(tmp_path).context("localhost"))
    assert result.reason is Reason.CERTIFICATE
    assert result.patience is Patience.LATER


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


@pytest.mark.parametrize(
    ("alert", "reason", "patience"),
    [
        pytest.param(40, Reason.TLS, Patience.SOON, id="handshake failure"),
        pytest.param(80, Reason.TLS, Patience.SOON, id="internal error"),
        pytest.param(112, Reason.TLS, Patience.SOON, id="unrecognized name"),
        pytest.param(42, Reason.TLS, Patience.SOON, id="bad certificate, of the client"),
        pytest.param(70, Reason.TLS_VERSION, Patience.LATER, id="protocol version"),
        pytest.param(71, Reason.TLS_VERSION, Patience.LATER, id="insufficient security"),
    ],
)
async def test_alerts_of_tls(alert: int, reason: Reason, patience: Patience) -> None:
    """A fatal alert (RFC 8446, 6) before any certificate says nothing about a certificate."""
    async with listening(after_hello(bytes([21, 3, 3, 0, 2, 2, alert]))) as port:
        result = await failure(f"wss://localhost:{port}/gateway")
    assert (result.reason, result.patience) == (reason, patience)


async def test_a_port_without_tls() -> None:
    """A web server on the port, but not with TLS: the wrong address, or a portal."""
    async with listening(after_hello(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        result = await failure(f"wss://localhost:{port}/gateway")
    assert result.reason is Reason.NOT_A_GATEWAY


def after_hello(answer: bytes) -> Talk:
    """Answer a TLS hello, which has been read completely, so that the close is no reset."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = int.from_bytes((await reader.readexactly(5))[3:])
        await reader.readexactly(length)
        writer.write(answer)
        await writer.drain()
        await reader.read()

    return talk


async def test_hung_up_in_the_tls_handshake() -> None:
    """A firewall that cuts TLS, or a server that is going down."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.transport.abort()

    async with listening(hang_up) as port:
        result = await failure(f"wss://localhost:{port}/gateway")
    assert result.reason in {Reason.CONNECTION_LOST, Reason.UNREACHABLE}
    assert result.patience is Patience.SOON


# --- open connections


async def ended(end: Callable[[ServerConnection], Awaitable[None]], **options: float) -> Failure:
    """Return how a connection ends whose server does `end`."""
    async with (
        serve(end, "127.0.0.1", 0, close_timeout=0.2) as listening,
        connect(
            f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}/",
            max_size=16_384,
            **options,  # type: ignore[arg-type] # seconds
        ) as client,
    ):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is what is asked
            await client.recv()
    return classify(caught.value, proxy=None)


CLOSE_CODES = {
    **dict.fromkeys((1000, 1011, 4000), Reason.CONNECTION_LOST),
    **dict.fromkeys((1001, 1012, 1013), Reason.SHUTTING_DOWN),
    **dict.fromkeys((1002, 1003, 1007, 1008, 1009, 1010), Reason.PROTOCOL),
}


@pytest.mark.parametrize(("code", "reason"), list(CLOSE_CODES.items()))
async def test_close_codes(code: int, reason: Reason) -> None:
    """The server's code says why it has closed the connection."""

    async def end(socket: ServerConnection) -> None:
        await socket.close(code, SECRET)

    assert await ended(end) == Failure(reason, detail=f"closed with {code}")


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        (True, Failure(Reason.CONNECTION_LOST, detail="closed with 1006")),
        (False, Failure(Reason.PROTOCOL, detail="closed by us with 1009")),
    ],
)
async def test_a_cut_and_too_large_a_message(*, cut: bool, expected: Failure) -> None:
    """The network fails without a close frame, or the client itself closes after 16 KiB."""

    async def end(socket: ServerConnection) -> None:
        if cut:
            socket.transport.abort()
        else:
            await socket.send("x" * 16_385)
            await socket.wait_closed()

    assert await ended(end) == expected


async def test_a_dead_connection_is_noticed_by_pings() -> None:
    """The server has gone without a word: no pong comes."""

    async def end(socket: ServerConnection) -> None:
        socket.transport.pause_reading()
        await socket.wait_closed()

    result = await ended(end, ping_interval=0.1, ping_timeout=0.1, close_timeout=0.1)
    assert result.reason is Reason.TIMED_OUT


@pytest.mark.parametrize(
    ("received", "sent", "echoed", "expected"),
    [
        *(
            (1000, code, False, Failure(Reason.PROTOCOL, detail=f"closed by us with {code}"))
            for code in (1002, 1003, 1007, 1008, 1009, 1010)
        ),
        *((1001, code, True, Failure(Reason.SHUTTING_DOWN, detail="closed with 1001"))
          for code in (1011, 1002)),
        (None, 1000, None, Failure(Reason.CONNECTION_LOST, detail="closed with 1006")),
    ],
)  # fmt: skip
def test_the_client_closes(
    received: int | None, sent: int, *, echoed: bool | None, expected: Failure
) -> None:
    """The code that the client sent counts, unless it only answers the server's."""
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
        (
            ConnectionResetError(),
            "http://proxy:80",
            Reason.PROXY_UNREACHABLE,
            "ConnectionResetError",
        ),
        (OSError(113, "x"), None, Reason.UNREACHABLE, "OSError 113"),
        (ssl.SSLEOFError(), None, Reason.CONNECTION_LOST, "SSLEOFError"),
        (ssl.SSLZeroReturnError(), None, Reason.CONNECTION_LOST, "SSLZeroReturnError"),
        (InvalidURI("x", "y"), None, Reason.NOT_A_GATEWAY, "InvalidURI"),
        (RuntimeError(SECRET), None, Reason.INTERNAL, "RuntimeError"),
        (WrongServer("ours"), None, Reason.IMPOSTOR, "ours"),
        (MessageError("ours"), None, Reason.PROTOCOL, "ours"),
        (BadProxy("ours"), "http://proxy:1", Reason.PROXY_SETTING, "ours"),
    ],
)
def test_errors_of_the_operating_system(
    error: Exception, proxy: str | None, reason: Reason, detail: str
) -> None:
    """Type and number are kept, and no text; with a proxy the first hop is to blame."""
    assert classify(error, proxy=proxy) == Failure(reason, detail=detail)
