"""What nginx, haproxy and Caddy answer while the gateway is away, as the client takes it."""

from __future__ import annotations

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
ANSWERS: list[tuple[str, Talk | None, str]] = [
    # program, what the gateway does, answer
    ("nginx", None, "HTTP 502"),
    ("nginx", silent, "HTTP 504"),
    ("haproxy", None, "HTTP 503"),
    ("haproxy", says(b""), "HTTP 502"),
    ("caddy", None, "HTTP 503"),
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("program", "talk", "answer"), ANSWERS)
async def test_fronts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, talk: Talk | None, answer: str
) -> None:
    """Each is `unavailable`, and tried again soon."""
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
    assert (result.reason, result.patience) == (Reason.UNAVAILABLE, Patience.SOON)
    assert result.detail == answer
