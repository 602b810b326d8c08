"""What nginx, haproxy and Caddy answer while the gateway is away, as the client takes it."""

from __future__ import annotations

import asyncio
import re
import ssl
from pathlib import Path

import pytest

from agent.core.failure import Patience, Reason
from tests.support.certificates import Authority
from tests.support.listeners import Talk, failure, listening, says, silent, unused_port
from tests.support.ports import free_port
from tests.support.reverse_proxies import running_proxy

LIMITS = {
    "nginx": {
        "200000": "1000",
        "worker_connections 50000": "worker_connections 400",
        "proxy_read_timeout 90s": "proxy_read_timeout 2s",
    },
    "haproxy": {"maxconn 100000": "maxconn 200", "timeout server 180s": "timeout server 2s"},
    "caddy": {"lb_try_duration 5s": "lb_try_duration 1s"},
}
"""What differs from docs/operations.md besides addresses: small limits, and short time-outs."""
GONE, HANGS_UP = b"No server is available", b"The server returned an invalid or incomplete"
ANSWERS: list[tuple[str, Talk | None, int, bytes]] = [
    # program, what the gateway does, status, a part of the head or the page
    ("nginx", None, 502, b"<center><h1>502 Bad Gateway</h1></center>"),
    ("nginx", says(b""), 502, b"<center><h1>502 Bad Gateway</h1></center>"),
    ("nginx", silent, 504, b"<center><h1>504 Gateway Time-out</h1></center>"),
    ("haproxy", None, 503, GONE),
    ("haproxy", says(b""), 502, HANGS_UP),
    ("haproxy", silent, 504, b"The server didn't respond in time."),
    ("caddy", None, 503, b"Server: Caddy\r\n"),
]
UPGRADE = (
    b"GET /gateway HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def answer(port: int, tls: ssl.SSLContext) -> bytes:
    """Return the answer to an upgrade: its head, and its page."""
    reader, writer = await asyncio.open_connection("localhost", port, ssl=tls)
    writer.write(UPGRADE)
    head = await reader.readuntil(b"\r\n\r\n")
    [size] = re.findall(rb"(?i)content-length: (\d+)", head)
    page = await reader.readexactly(int(size))
    writer.close()
    return head + page


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("program", "talk", "status", "part"),
    ANSWERS,
    ids=[f"{case[0]} {case[2]}" for case in ANSWERS],
)
async def test_fronts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    program: str,
    talk: Talk | None,
    status: int,
    part: bytes,
) -> None:
    """Each is `unavailable`, and tried again soon; all of them speak HTTP/1.1."""
    authority = Authority(tmp_path / "tls")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    async with listening(talk or says(b"")) as port:
        gateway, front = port if talk else await unused_port(), free_port()
        with running_proxy(
            program,
            tmp_path,
            port=front,
            gateways=[gateway] * 2,
            consoles=[gateway] * 2,
            certificate=authority.issue("localhost"),
            limits=LIMITS[program],
        ):
            result = await failure(f"wss://localhost:{front}/gateway")
            said = await answer(front, authority.trust())
    assert (result.reason, result.patience) == (Reason.UNAVAILABLE, Patience.SOON)
    assert result.detail == f"HTTP {status}"
    assert said.startswith(b"HTTP/1.1 %d " % status)
    assert part in said
