"""Proxies that refuse, ask for a login, cannot reach the server, or do not run."""

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
from tests.support.listeners import Talk, failure, http, listening, says
from tests.support.ports import free_port

BEHIND = "wss://gw.example.com/gateway"
REFUSED, AWAY, LOGIN = Reason.PROXY_REFUSED, Reason.UNAVAILABLE, Reason.PROXY_LOGIN


def socks(*answers: bytes) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.read(300)
            writer.write(answer)
            await writer.drain()

    return talk


def socks5(code: int) -> Talk:
    """Accept the SOCKS greeting, then answer with a reply code of RFC 1928."""
    return socks(b"\x05\x00", bytes([5, code, 0, 1, 0, 0, 0, 0, 0, 0]))


@pytest.mark.parametrize(
    ("scheme", "talk", "reason"),
    [
        ("http", http("407 Authentication Required"), LOGIN),
        ("http", says(b"HTTP/1.1 407\r\n\r\n"), LOGIN),
        ("http", http("403 Forbidden"), REFUSED),
        ("http", http("500 Error"), REFUSED),
        ("http", http("302 Found"), REFUSED),
        ("http", says(b"SSH-2.0-x\r\n\r\n"), REFUSED),
        ("http", says(b""), REFUSED),
        ("http", http("502 Bad Gateway"), AWAY),
        ("http", http("504 Timeout"), AWAY),
        ("http", says(b"HTTP/1.0 200\r\n\r\n"), Reason.CONNECTION_LOST),  # a tunnel that ends
        ("http", says(b"HTTP/1.1 200 OK\r\n\r\n"), Reason.CONNECTION_LOST),
        ("socks5h", socks(b"\x05\xff"), REFUSED),  # no acceptable method
        ("socks5h", socks(b"HTTP/1.1 400 Bad\r\n"), REFUSED),
        ("socks5h", socks(b""), REFUSED),
        *(("socks5h", socks5(code), REFUSED) for code in (2, 7, 8)),
        *(("socks5h", socks5(code), AWAY) for code in (1, 3, 4, 5, 6)),
        ("socks4a", socks(b"\x00\x5b" + bytes(6)), AWAY),
    ],
)
async def test_a_proxy_that_does_not_connect(scheme: str, talk: Talk, reason: Reason) -> None:
    """A proxy that gives no tunnel has its reason; a lost tunnel leaves no unhandled error."""
    stray: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: stray.append(context))
    async with listening(talk) as port:
        result = await failure(BEHIND, proxy=f"{scheme}://127.0.0.1:{port}")
    assert result.reason is reason
    assert stray == [] or reason is not Reason.CONNECTION_LOST


@pytest.mark.parametrize("scheme", ["socks5", "socks4"])
async def test_a_server_whose_name_this_pc_does_not_know(scheme: str) -> None:
    """A server's name that is unknown at this PC is not reported as the proxy's failure."""
    async with listening(socks5(4)) as port:
        result = await failure("wss://no-such-host.invalid/", proxy=f"{scheme}://127.0.0.1:{port}")
    assert result.reason is Reason.NO_SUCH_HOST


async def test_a_certificate_of_the_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad certificate of an `https://` proxy is not reported as the server's."""
    authority = Authority(tmp_path)
    tls = authority.context("localhost")
    async with listening(http("200 OK"), tls=tls) as port:
        result = await failure(BEHIND, proxy=f"https://localhost:{port}")
    assert (result.reason, result.detail[:11]) == (Reason.PROXY_CERTIFICATE, "ProxyError ")
    async with listening(says(b"HTTP/1.1 400 No\r\n\r\n", after=b"\x03")) as port:
        result = await failure(BEHIND, proxy=f"https://localhost:{port}")
    assert result.reason is REFUSED
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    async with (
        listening(http("503 Away"), tls=authority.context("gw.example.com")) as server,
        listening(Proxy("gw.example.com", server).http, tls=tls) as port,
    ):
        result = await failure(BEHIND, proxy=f"https://localhost:{port}")
    assert (result.reason, result.detail) == (AWAY, "HTTP 503")


async def test_a_proxy_that_resets_each_connection() -> None:
    """A reset by the proxy, at any moment, is never reported as a defect of the client."""
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
    """A proxy that is down or unknown is reported as the proxy's failure, not the server's."""
    for host in (f"127.0.0.1:{free_port()}", "no-such-proxy.invalid:3128"):
        result = await failure("wss://127.0.0.1:9/gateway", proxy=f"{scheme}://{host}")
        assert result.reason is Reason.PROXY_UNREACHABLE
