"""Proxies that refuse, ask for a login, cannot get further, or are not there."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from agent.core.failure import Reason
from tests.support.certificates import Authority
from tests.support.forward_proxies import Proxy
from tests.support.listeners import Talk, failure, http, listening, says, unused_port

BEHIND = "wss://gw.example.com/gateway"


@pytest.mark.parametrize(
    ("talk", "reason"),
    [
        pytest.param(http("407 Authentication Required"), Reason.PROXY_LOGIN, id="login"),
        pytest.param(http("403 Forbidden"), Reason.PROXY_REFUSED, id="forbidden"),
        pytest.param(http("502 Bad Gateway"), Reason.UNAVAILABLE, id="nothing behind it"),
        pytest.param(http("503 Unavailable"), Reason.UNAVAILABLE, id="nothing up behind it"),
        pytest.param(http("504 Timeout"), Reason.UNAVAILABLE, id="silence behind it"),
        pytest.param(http("500 Error"), Reason.PROXY_REFUSED, id="broken itself"),
        pytest.param(says(b"HTTP/1.1 407\r\n\r\n"), Reason.PROXY_LOGIN, id="no phrase"),
        pytest.param(says(b"HTTP/1.0 200\r\n\r\n"), Reason.CONNECTION_LOST, id="a tunnel, ended"),
        pytest.param(http("302 Found"), Reason.PROXY_REFUSED, id="redirect"),
        pytest.param(says(b"SSH-2.0-x\r\n\r\n"), Reason.PROXY_REFUSED, id="not a proxy"),
        pytest.param(says(b""), Reason.PROXY_REFUSED, id="hangs up"),
    ],
)
async def test_http_proxies(talk: Talk, reason: Reason) -> None:
    """A proxy that refuses, asks for a login, or cannot get further."""
    async with listening(talk) as port:
        result = await failure(BEHIND, proxy=f"http://127.0.0.1:{port}")
    assert result.reason is reason


async def test_a_certificate_of_the_proxy(tmp_path: Path) -> None:
    """An `https://` proxy that is not trusted, or has no TLS at all: the server is not to blame."""
    async with listening(http("200 OK"), tls=Authority(tmp_path).context("localhost")) as port:
        result = await failure(BEHIND, proxy=f"https://localhost:{port}")
    assert (result.reason, result.detail[:11]) == (Reason.PROXY_CERTIFICATE, "ProxyError ")
    async with listening(says(b"HTTP/1.1 400 No\r\n\r\n", after=b"\x03")) as port:
        result = await failure(BEHIND, proxy=f"https://localhost:{port}")
    assert result.reason is Reason.PROXY_REFUSED


async def test_a_trusted_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An `https://` proxy with a certificate that the system trusts: the server answers."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    async with listening(http("503 Away"), tls=authority.context("gw.example.com")) as server:
        proxy = Proxy("gw.example.com", server)
        async with listening(proxy.http, tls=authority.context("localhost")) as port:
            result = await failure(BEHIND, proxy=f"https://localhost:{port}")
    assert (result.reason, result.detail) == (Reason.UNAVAILABLE, "HTTP 503")


async def test_a_tunnel_that_ends_at_once() -> None:
    """The proxy was reached, so it is not to blame; nothing stray is left for the log."""
    stray: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: stray.append(context))
    async with listening(says(b"HTTP/1.1 200 OK\r\n\r\n")) as port:
        result = await failure(BEHIND, proxy=f"http://127.0.0.1:{port}")
    assert result.reason is Reason.CONNECTION_LOST
    assert stray == []


async def test_a_proxy_that_resets_each_connection() -> None:
    """It is no defect of the client, at whatever moment the reset comes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def reset_all() -> None:
            with suppress(OSError):
                while True:
                    one, _ = listener.accept()
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    one.close()

        threading.Thread(target=reset_all, daemon=True).start()
        proxy = f"socks5h://127.0.0.1:{listener.getsockname()[1]}"
        results = await asyncio.gather(*(failure(BEHIND, proxy=proxy) for _ in range(20)))
        listener.shutdown(socket.SHUT_RDWR)
    assert Reason.INTERNAL not in {each.reason for each in results}


@pytest.mark.parametrize("scheme", ["http", "socks5h", "socks5", "socks4a"])
async def test_a_proxy_that_is_not_there(scheme: str) -> None:
    """It is down, or its name is unknown: the server is not to blame."""
    for host in (f"127.0.0.1:{await unused_port()}", "no-such-proxy.invalid:3128"):
        result = await failure("wss://127.0.0.1:9/gateway", proxy=f"{scheme}://{host}")
        assert result.reason is Reason.PROXY_UNREACHABLE


@pytest.mark.parametrize(
    ("scheme", "reason"),
    [
        ("socks5", Reason.NO_SUCH_HOST),  # this PC resolves
        ("socks5h", Reason.UNAVAILABLE),  # the proxy does, and has one answer for all failures
        ("socks4", Reason.NO_SUCH_HOST),
        ("socks4a", Reason.UNAVAILABLE),
    ],
)
async def test_a_server_whose_name_is_unknown(scheme: str, reason: Reason) -> None:
    """The proxy works, so it is not to blame, whichever side looks the name up."""
    answers = [b"\x05\x00", reply(4)] if "socks5" in scheme else [b"\x00\x5b" + bytes(6)]
    async with listening(socks5(*answers)) as port:
        result = await failure("wss://no-such-host.invalid/", proxy=f"{scheme}://127.0.0.1:{port}")
    assert result.reason is reason


def socks5(*answers: bytes) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.read(300)
            writer.write(answer)
            await writer.drain()

    return talk


def reply(code: int) -> bytes:
    return bytes([5, code, 0, 1, 0, 0, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("talk", "reason"),
    [
        pytest.param(socks5(b"\x05\xff"), Reason.PROXY_REFUSED, id="no method"),
        *((socks5(b"\x05\x00", reply(code)), Reason.PROXY_REFUSED) for code in (2, 7, 8)),
        *((socks5(b"\x05\x00", reply(code)), Reason.UNAVAILABLE) for code in (1, 3, 4, 5, 6)),
        pytest.param(socks5(b"HTTP/1.1 400 Bad\r\n"), Reason.PROXY_REFUSED, id="not SOCKS"),
        pytest.param(socks5(b""), Reason.PROXY_REFUSED, id="hangs up"),
    ],
)
async def test_socks_proxies(talk: Talk, reason: Reason) -> None:
    """A SOCKS proxy refuses, or says by RFC 1928's codes that what is behind it fails."""
    async with listening(talk) as port:
        result = await failure(BEHIND, proxy=f"socks5h://127.0.0.1:{port}")
    assert result.reason is reason
