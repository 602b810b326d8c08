"""Two nodes behind nginx, haproxy and Caddy, with the configurations of docs/operations.md.

Behind each proxy, the nodes are upgraded one after the other. There is no release yet: the new
version is a copy of this server with one more migration. This server is the old version, on a
database with a migration that it does not know.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from nacl.public import PrivateKey
from websockets.exceptions import ConnectionClosed

from protocol import messages
from tests.support.browser import Browser
from tests.support.certificates import Authority
from tests.support.gateway_client import Client, new_key
from tests.support.installation import P1, P2, PROGRAM, Installation, Server
from tests.support.places import ROOT
from tests.support.polling import eventually
from tests.support.ports import free_port
from tests.support.postgres import Postgres
from tests.support.reverse_proxies import PROXIES, running_proxy

LIMITS = {
    "nginx": {"200000": "1000", "worker_connections 50000": "worker_connections 400", "90s": "2s"},
    "haproxy": {"maxconn 100000": "maxconn 200", "90s": "2s"},
    "caddy": {},
}
"""Changes of the page's configurations, besides addresses: small limits, 2 s for 90 s."""
MIGRATION = """
from django.db import migrations, models
class Migration(migrations.Migration):
    dependencies = [("console", "{last}")]
    operations = [
        migrations.AddField("device", "next", models.CharField(max_length=8, db_default="-")),
        migrations.AddField("passwordchange", "next", models.CharField(max_length=8, null=True)),
        migrations.CreateModel("OfNext", [("id", models.BigAutoField(primary_key=True))]),
    ]
"""


@pytest.fixture(scope="module")
def next_version(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Make the new version. Return the command that starts it."""
    folder = tmp_path_factory.mktemp("next")
    for package in ("server", "protocol"):
        made = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, folder / package, ignore=made)
    migrations = folder / "server" / "console" / "migrations"
    last = max(path.stem for path in migrations.glob("0*.py"))
    (migrations / "9999_next.py").write_text(MIGRATION.format(last=last))
    run = "from server.__main__ import main; sys.exit(main())"
    return [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(folder)!r}); {run}"]


class Site:
    """Two nodes, and the port for a proxy before them."""

    def __init__(self, installation: Installation, folder: Path) -> None:
        self.installation = installation
        self.port = free_port()
        self.authority = Authority(folder / "tls")
        self.nodes = [self.node(name) for name in ("north", "south")]

    def node(self, name: str, program: Sequence[str] = PROGRAM) -> Server:
        """Return a node, not started, on the ports that the proxy uses."""
        settings = {"GATEWAY_NAME": name, "TRUSTED_PROXIES": "127.0.0.1"}
        settings["PUBLIC_URL"] = f"https://127.0.0.1:{self.port}"
        made = Server(self.installation, program=program, **settings)
        made._ports = {"console": str(free_port()), "gateway": str(free_port())}
        return made

    def client(self, **options: Any) -> Client:
        return Client(self.port, scheme="wss", ssl=self.authority.trust(), **options)

    def browser(self) -> Browser:
        return Browser(f"https://127.0.0.1:{self.port}", authority=self.authority.file)

    @contextmanager
    def behind(self, program: str, folder: Path) -> Iterator[None]:
        """Run the proxy until the end of the context."""
        with running_proxy(
            program,
            folder,
            port=self.port,
            gateways=[int(each._ports["gateway"]) for each in self.nodes],
            consoles=[int(each._ports["console"]) for each in self.nodes],
            certificate=self.authority.issue(),
            limits=LIMITS[program],
        ) as log:
            eventually(lambda: self.page() == "200", or_say=log.read_text)
            yield

    def page(self) -> str:
        """Load a page. Return the HTTP status, or the name of the exception."""
        with self.browser() as browser:
            try:
                return str(browser.get("/login/").status_code)
            except requests.RequestException as exc:
                return type(exc).__name__

    async def load_pages(self, answers: set[str]) -> None:
        """Load a page again and again, and add each status to `answers`."""
        while True:
            answers.add(await asyncio.to_thread(self.page))
            await asyncio.sleep(0.05)

    def change(self, username: str, current: str, new: str) -> None:
        with self.browser() as browser:
            assert browser.log_in(username, current)
            assert browser.get("/password/").request.headers["Cookie"].count("__Host-")
            assert "The password was changed" in browser.change_password(current, new).text

    def upgrade(self, number: int, program: Sequence[str]) -> None:
        """Replace a node by the new version, on the same ports, with the steps of the page."""
        old = self.nodes[number]
        new = self.nodes[number] = self.node(old._settings["GATEWAY_NAME"], program)
        new._ports = old._ports
        assert old.stop() == 0
        new.start()
        pages = [f"http://127.0.0.1:{port}/readyz" for port in new._ports.values()]
        eventually(lambda: all(requests.get(page, timeout=10).ok for page in pages))

    def address(self, where: str, value: str) -> str:
        """Return the client's address that the database has."""
        [(found,)] = self.installation.query(f"SELECT host(address) FROM console_{where}", value)
        return str(found)


@pytest.fixture(scope="module")
def site(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    installation = Installation(folder / "data", database=postgres.new_database())
    installation.create()
    made = Site(installation, folder)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(Server.start, made.nodes))
    yield made
    for node in made.nodes:
        node.stop()


@pytest.mark.parametrize("program", PROXIES)
async def test_proxy(site: Site, tmp_path: Path, program: str, next_version: list[str]) -> None:
    """Login, push and a change in the browser work behind each proxy, with right addresses.

    An upgrade refuses no client and no page.
    """
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
            if program != "caddy":  # Caddy has no time-out for WebSockets
                assert await silent.closed() == 1006
            added = "action = 'device.added' ORDER BY at LIMIT 1"
            event = f"auditevent WHERE subject_name = %s AND {added}"
            assert site.address(event, program) == "127.0.0.5"
            await throttled_by_address(site, program)
            await asyncio.to_thread(site.change, program, P1, P2)
            await waits.takes(program, P2)
        await upgraded(site, program, next_version)


async def throttled_by_address(site: Site, username: str) -> None:
    """Assert that guesses with forged addresses are counted for the real one."""
    reasons = []
    for number in range(22):  # each of two gateways takes 10
        address, header = "127.0.0.66", {"X-Forwarded-For": f"198.51.100.{number % 21}"}
        if number == 21:
            address = "127.0.0.67"
        async with site.client(local_addr=(address, 0), additional_headers=header) as client:
            reasons.append((await client.prove_wrongly(await client.hello(username))).reason)
    assert "throttled" in reasons
    assert reasons[-1] == "credentials"


@dataclass
class Pc:
    """A client behind the proxy that reconnects whenever its connection ends."""

    site: Site
    username: str
    password: str = P1
    key: PrivateKey = field(default_factory=new_key)
    refused: list[str] = field(default_factory=list)
    logins: int = 0

    def has(self, password: str) -> bool:
        return self.password == password

    async def run(self) -> None:
        while True:
            try:
                async with self.site.client(key=self.key, ping_interval=0.5) as client:
                    await self._stay(client)
            except ConnectionClosed:
                pass
            except Exception as exc:  # noqa: BLE001 - whatever it is, the user would see it
                self.refused.append(f"{type(exc).__name__}: {exc}")
            await asyncio.sleep(0.1)

    async def _stay(self, client: Client) -> None:
        await client.log_in(self.username, self.password)
        self.logins += 1
        while True:
            with suppress(TimeoutError):
                message = await client.receive()
                if isinstance(message, messages.Bye):
                    return
                if isinstance(message, messages.PasswordChanged):
                    pushed = client.open(message.sealed)["password"]
                    await client.log_in(self.username, pushed)
                    self.password = pushed


async def upgraded(site: Site, program: str, next_version: list[str]) -> None:
    """Upgrade both nodes; a change after each of the upgrades reaches the clients."""
    pcs = [Pc(site, f"{program}-{number}") for number in range(2)]
    for pc in pcs:
        await asyncio.to_thread(site.installation.add_user, pc.username)
    pages: set[str] = set()
    tasks = [asyncio.create_task(work) for work in (site.load_pages(pages), *map(Pc.run, pcs))]
    deliveries = (
        " FROM console_user u JOIN console_device d ON d.user_id = u.id"
        " LEFT JOIN console_pendingchange p ON p.device_id = d.id WHERE u.username LIKE %s"
    )

    def all_wait() -> bool:
        """Return whether the PCs wait. A PC that does not wait gets no push."""
        waiting = "SELECT DISTINCT d.id" + deliveries + " AND d.waiting_since IS NOT NULL"
        return len(site.installation.query(waiting, f"{program}-%")) == len(pcs)

    await asyncio.to_thread(eventually, all_wait)
    for number in range(len(site.nodes)):
        await asyncio.to_thread(site.upgrade, number, next_version)
        # Caddy tries a node that is away for some seconds before it takes the other.
        await asyncio.to_thread(eventually, all_wait)
        for pc in pcs:
            new = f"Wk{number}-qTz+x"
            await asyncio.to_thread(site.change, pc.username, pc.password, new)
            await asyncio.to_thread(eventually, partial(pc.has, new), or_say=pc.refused.copy)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (pages, [pc.refused for pc in pcs]) == ({"200"}, [[], []])
    assert all(pc.logins > 1 for pc in pcs)
    outcomes = site.installation.query("SELECT p.outcome" + deliveries, f"{program}-%")
    assert outcomes == [("applied",)] * 4
    assert site.installation.query("SELECT count(*) FROM console_ofnext") == [(0,)]
