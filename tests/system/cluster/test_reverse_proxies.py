"""Real nodes behind nginx, haproxy and Caddy, with the configurations of docs/operations.md."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
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

    def client(self, **options: Any) -> Client:
        return Client(self.port, scheme="wss", ssl=self.authority.trust(), **options)

    def browser(self) -> Browser:
        return Browser(f"https://127.0.0.1:{self.port}", authority=self.authority.file)

    @contextmanager
    def behind(self, program: str, folder: Path) -> Iterator[Path]:
        """Run the proxy until the end of the context. Yield the file of its output."""

        def answers() -> bool:
            with suppress(requests.RequestException), self.browser() as browser:
                return bool(browser.get("/login/").status_code == 200)
            return False

        with running_proxy(
            program,
            folder,
            port=self.port,
            gateways=[each.gateway for each in self.nodes],
            consoles=[each.console_port for each in self.nodes],
            certificate=self.authority.issue(),
            limits=LIMITS[program],
        ) as log:
            eventually(answers, or_say=log.read_text)
            yield log

    @contextmanager
    def node(self, name: str) -> Iterator[Server]:
        """Run a node that is reached by the proxy."""
        settings = {"PUBLIC_URL": f"https://127.0.0.1:{self.port}", "TRUSTED_PROXIES": "127.0.0.1"}
        with self.installation.serving(GATEWAY_NAME=name, **settings) as server:
            yield server

    def address(self, where: str, value: str) -> str:
        """Return the client's address in the database."""
        [(found,)] = self.installation.query(f"SELECT host(address) FROM console_{where}", value)
        return str(found)


@pytest.fixture(scope="module")
def site(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    installation = Installation(folder / "data", database=postgres.new_database())
    installation.create()
    made = Site(installation, [], free_port(), Authority(folder / "tls"))
    with made.node("north") as north, made.node("south") as south:
        made.nodes = [north, south]
        yield made


@pytest.mark.parametrize("program", PROXIES)
async def test_proxy(site: Site, tmp_path: Path, program: str) -> None:
    """Login, push and a change in the browser work behind each proxy, with the right addresses."""
    site.installation.add_user(program)
    with site.behind(program, tmp_path):
        claim = {"X-Forwarded-For": "203.0.113.9"}
        waits = site.client(
            ping_interval=0.5, local_addr=("127.0.0.5", 0), additional_headers=claim
        )
        async with waits, site.client(ping_interval=None) as silent:
            welcome = await waits.log_in(program, P1)
            assert welcome.console_url == f"https://127.0.0.1:{site.port}"
            await silent.log_in(program, P1)
            assert site.address("device WHERE device_id = %s", waits.device.id) == "127.0.0.5"
            if program != "caddy":  # which has no time-out for WebSockets
                assert await silent.closed() == 1006
            added = "action = 'device.added' ORDER BY at LIMIT 1"
            event = f"auditevent WHERE subject_name = %s AND {added}"
            assert site.address(event, program) == "127.0.0.5"
            await throttled_by_address(site, program)

            def change() -> None:
                with site.browser() as browser:
                    assert browser.log_in(program, P1)
                    assert browser.get("/password/").request.headers["Cookie"].count("__Host-")
                    browser.change_password(P1, P2)

            await asyncio.to_thread(change)
            await waits.takes(program, P2)


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
    with site.node("leaves") as leaves:
        pair = replace(site, nodes=[site.nodes[0], leaves])
        with pair.behind("haproxy", tmp_path) as log:
            leaves.process.kill()
            await asyncio.to_thread(
                eventually, lambda: "Server gateways/south is DOWN" in log.read_text()
            )
            for _ in range(4):
                async with pair.client() as client:
                    await client.log_in("moves", P1)
