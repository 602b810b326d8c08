"""The client's reaction to nginx, haproxy and Caddy while the gateway is down."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.core.failure import Reason
from tests.support.certificates import Authority
from tests.support.listeners import failure
from tests.support.ports import free_port
from tests.support.reverse_proxies import running_proxy

LIMITS = {
    "nginx": {"200000": "1000", "worker_connections 50000": "worker_connections 400"},
    "haproxy": {"maxconn 100000": "maxconn 200"},
    "caddy": {"lb_try_duration 5s": "lb_try_duration 1s"},
}
"""Changes of the configurations in docs/operations.md, besides addresses."""


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("program", "answer"), [("nginx", "HTTP 502"), ("haproxy", "HTTP 503"), ("caddy", "HTTP 503")]
)
async def test_fronts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, answer: str
) -> None:
    """Each proxy's answer gives the reason `unavailable`, and a retry soon."""
    authority = Authority(tmp_path / "tls")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    gateway, front = free_port(), free_port()
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
    assert (result.reason, result.may_end_soon) == (Reason.UNAVAILABLE, True)
    assert result.detail == answer
