"""Real nodes behind nginx, haproxy and Caddy, with the configurations of docs/operations.md."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext
from typing import Any

import pytest
import requests

from protocol import messages
from tests.support.browser import Browser
from tests.support.certificates import Authority
from tests.support.gateway_client import Client
from tests.support.installation import P1, P2, Installation, Server
from tests.support.polling import eventually
from tests.support.ports import free_port
from tests.support.postgres import Postgres
from tests.support.reverse_proxies import PROXIES, running_proxy

LIMITS = {
    "nginx": {"200000": "1000", "worker_connections 50000": "worker_connections 400", "90s": "2s"},
    "haproxy": {"maxconn 100000": "maxconn 200", "90s": "2s"},
    "caddy": {},
}
"""What differs from the page besides addresses: small limits, and 90 s are 2 s."""


@dataclass
class Site:
    """Two nodes, and the port on which a proxy is started."""

    installation: Installation
    nodes: Sequence[Server]
    port: int
    authority: Authority

    @property
    def tls(self) -> SSLContext:
        return self.authority.trust()

    def client(self, **options: Any) -> Client:
        return Client(self.port, scheme="wss", ssl=self.tls, **options)

    @contextmanager
    def behind(self, program: str, folder: Path) -> Iterator[Path]:
        """Run the proxy until the end of the context. Yield the file of its output."""
        with running_proxy(
            program,
            folder,
            port=self.port,
            gateways=[each.gateway for each in self.nodes],
            consoles=[each.console_port for each in self.nodes],
            certificate=self.authority.issue(),
            limits=LIMITS[program],
        ) as log:
            eventually(self._answers, or_say=log.read_text)
            yield log

    def _answers(self) -> bool:
        try:
            with Browser(
                f"https://127.0.0.1:{self.port}", authority=self.authority.file
            ) as browser:
                return bool(browser.get("/login/").status_code == 200)
        except requests.RequestException:
            return False


@pytest.fixture(scope="module")
def site(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    installation = Installation(
        tmp_path_factory.mktemp("site") / "data", database=postgres.new_database()
    )
    port = free_port()
    installation.create()
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(
                installation.serving(
                    GATEWAY_NAME=name,
                    PUBLIC_URL=f"https://127.0.0.1:{port}",
                    TRUSTED_PROXIES="127.0.0.1",
                )
            )
            for name in ("north", "south")
        ]
        yield Site(installation, nodes, port, Authority(tmp_path_factory.mktemp("tls")))


@pytest.mark.parametrize("program", PROXIES)
async def test_proxy(site: Site, tmp_path: Path, program: str) -> None:
    """Login, push and a change in the browser work behind each proxy, with the right addresses."""
    site.installation.add_user(program)
    opened = ExitStack()
    await asyncio.to_thread(opened.enter_context, site.behind(program, tmp_path))
    with opened:
        claim = {"X-Forwarded-For": "203.0.113.9"}
        waits = site.client(
            ping_interval=0.5, local_addr=("127.0.0.5", 0), additional_headers=claim
        )
        async with waits, site.client(ping_interval=None) as silent:
            welcome = await waits.log_in(program, P1)
            assert welcome.console_url == f"https://127.0.0.1:{site.port}"
            await silent.log_in(program, P1)
            [(address,)] = site.installation.query(
                "SELECT host(address) FROM console_device WHERE device_id = %s", waits.device.id
            )
            assert address == "127.0.0.5"
            if program != "caddy":  # which has no time-out for WebSockets
                assert await silent.closed() == 1006
            [(address,)] = site.installation.query(
                "SELECT host(address) FROM console_auditevent e JOIN console_user u "
                "ON u.id = e.subject_id WHERE u.username = %s AND e.action = 'device.added' "
                "ORDER BY e.at LIMIT 1",
                program,
            )
            assert address == "127.0.0.5"
            await throttled_by_address(site, program)

            def change() -> str:
                console = f"https://127.0.0.1:{site.port}"
                with Browser(console, authority=site.authority.file) as browser:
                    assert browser.log_in(program, P1)
                    assert browser.get("/password/").request.headers["Cookie"].count("__Host-")
                    return str(browser.change_password(P1, P2).text)

            assert "The password was changed" in await asyncio.to_thread(change)
            pushed = await waits.expect(messages.PasswordChanged)
            assert waits.open(pushed.sealed)["password"] == P2
            assert (await waits.log_in(program, P2)).password == "current"


async def throttled_by_address(site: Site, username: str) -> None:
    """Assert that guesses with forged addresses are counted for the real one."""
    reasons = [
        await guess(site, username, "127.0.0.66", claim=f"198.51.100.{number}")
        for number in range(21)  # each of two gateways takes 10
    ]
    assert "throttled" in reasons
    assert await guess(site, username, "127.0.0.67", claim="198.51.100.1") == "credentials"


async def guess(site: Site, username: str, address: str, *, claim: str) -> str:
    """Send one wrong proof from an address. Return why it was refused."""
    header = {"X-Forwarded-For": claim}
    async with site.client(local_addr=(address, 0), additional_headers=header) as client:
        await client.send(messages.Hello(scram=f"n,,n={username},r=x", device=client.device))
        answer = await client.receive()
        if isinstance(answer, messages.Challenge):
            nonce = answer.scram.split(",")[0]
            await client.send(messages.Proof(scram=f"c=biws,{nonce},p=AAAA"))
            answer = await client.receive()
        assert isinstance(answer, messages.Rejected)
        return answer.reason


async def test_balancer_asks_who_is_ready(site: Site, tmp_path: Path) -> None:
    """A balancer leads all clients to the node that is left."""
    site.installation.add_user("moves")
    with site.installation.serving(
        GATEWAY_NAME="leaves",
        PUBLIC_URL=f"https://127.0.0.1:{site.port}",
        TRUSTED_PROXIES="127.0.0.1",
    ) as leaves:
        pair = Site(site.installation, [site.nodes[0], leaves], site.port, site.authority)
        opened = ExitStack()
        log = await asyncio.to_thread(opened.enter_context, pair.behind("haproxy", tmp_path))
        with opened:
            leaves.process.kill()
            await asyncio.to_thread(
                eventually, lambda: "Server gateways/south is DOWN" in log.read_text()
            )
            for _ in range(4):
                async with pair.client() as client:
                    await client.log_in("moves", P1)
