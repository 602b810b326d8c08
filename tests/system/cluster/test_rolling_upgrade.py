"""A rolling upgrade behind each proxy: nodes of two versions side by side on one database.

There is no release yet. The new version is a copy of this server with one more migration and the
columns that it adds, so this server is the old one, on a database that is newer than it knows.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import requests
from websockets.exceptions import ConnectionClosed

from protocol import messages
from tests.support.browser import Browser
from tests.support.certificates import Authority
from tests.support.gateway_client import Client, new_key
from tests.support.installation import P1, Installation, Server
from tests.support.places import ROOT
from tests.support.polling import eventually
from tests.support.ports import free_port
from tests.support.postgres import Postgres
from tests.support.reverse_proxies import running_proxy

LIMITS = {
    "nginx": {"200000": "1000", "worker_connections 50000": "worker_connections 400"},
    "haproxy": {"maxconn 100000": "maxconn 200"},
    "caddy": {},
}
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
MODELS = {
    "    blocked_at = models": '    next = models.CharField(max_length=8, db_default="-")\n',
    "    old_valid_until = models": "    next = models.CharField(max_length=8, null=True)\n",
}
"""Lines of the models, and those that the new version has before them."""
USERS = ("tanaka", "suzuki")
NODES = ("gateway-north", "gateway-south", "console-north", "console-south")


@pytest.fixture(scope="module")
def next_version(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the command of the new version."""
    folder = tmp_path_factory.mktemp("next")
    for package in ("server", "protocol"):
        made = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, folder / package, ignore=made)
    console = folder / "server" / "console"
    last = max(path.stem for path in (console / "migrations").glob("0*.py"))
    (console / "migrations" / "9999_next.py").write_text(MIGRATION.format(last=last))
    models = (console / "models" / "pcs.py").read_text()
    for line, before in MODELS.items():
        assert models.count(line) == 1, line
        models = models.replace(line, before + line)
    (console / "models" / "pcs.py").write_text(models)
    run = "from server.__main__ import main; sys.exit(main())"
    return [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(folder)!r}); {run}"]


class Pc:
    """A client that stays connected through the proxy, as the product's does."""

    def __init__(self, site: Site, username: str) -> None:
        self.username = username
        self.password = P1
        self.refused: list[str] = []
        self.logins = 0
        self._site = site
        self._key = new_key()

    def has(self, password: str) -> bool:
        return self.password == password

    async def run(self) -> None:
        while True:
            client = Client(self._site.port, scheme="wss", ssl=self._site.tls, key=self._key)
            try:
                async with client:
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


class Site:
    """Two gateways and two consoles, which are upgraded one after the other."""

    def __init__(self, installation: Installation, folder: Path) -> None:
        self.installation = installation
        self.port = free_port()
        self.authority = Authority(folder / "tls")
        self.certificate = self.authority.issue()
        self.tls = self.authority.trust()
        self.bad_pages: list[str] = []
        self.ended = threading.Event()
        self.nodes: dict[str, Server | None] = dict.fromkeys(NODES)

    def node(self, name: str, **how: Sequence[str]) -> Server:
        """Return a node of a version that is not started."""
        role = name.partition("-")[0]
        settings = {"ROLE": role, "GATEWAY_NAME": name, "TRUSTED_PROXIES": "127.0.0.1"}
        settings["PUBLIC_URL"] = f"https://127.0.0.1:{self.port}"
        return Server(self.installation, **how, **settings)  # type: ignore[arg-type]

    def browser(self) -> Browser:
        return Browser(f"https://127.0.0.1:{self.port}", authority=self.authority.file)

    def load_pages(self) -> None:
        """Load a page again and again, as people do, and note what is not one."""
        while not self.ended.wait(0.05):
            with self.browser() as browser:
                try:
                    answer = str(browser.get("/login/").status_code)
                except requests.RequestException as exc:
                    answer = type(exc).__name__
            if answer != "200":
                self.bad_pages.append(answer)

    def change(self, username: str, current: str, new: str) -> None:
        with self.browser() as browser:
            assert browser.log_in(username, current)
            assert "The password was changed" in browser.change_password(current, new).text

    def ports(self, part: str) -> list[int]:
        """Return the ports of both nodes with this part."""
        return [
            int(node._ports[part]) for name, node in self.nodes.items() if node and part in name
        ]

    def is_up(self) -> bool:
        with suppress(requests.RequestException), self.browser() as browser:
            return bool(browser.get("/login/").status_code == 200)
        return False

    def upgrade(self, name: str, program: Sequence[str]) -> None:
        """Replace a node by one of the new version, on the same port, as the page says."""
        old, new = self.nodes[name], self.node(name, program=program)
        assert old is not None
        assert old.stop() == 0
        new._ports = old._ports
        new.start()
        self.nodes[name] = new
        part = name.partition("-")[0]
        address = f"http://127.0.0.1:{new._ports[part]}/readyz"
        eventually(lambda: requests.get(address, timeout=10).ok)


@pytest.fixture(scope="module")
def template(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the name of a database of the old version with an administrator."""
    url = postgres.new_database()
    Installation(tmp_path_factory.mktemp("template") / "data", database=url).create()
    return url.rpartition("/")[2]


@pytest.fixture
def site(postgres: Postgres, template: str, tmp_path: Path) -> Iterator[Site]:
    """Yield a site whose nodes run the old version."""
    database = postgres.new_database(template=template)
    installation = Installation(tmp_path / "data", database=database)
    made = Site(installation, tmp_path)
    try:
        for name in made.nodes:
            made.nodes[name] = node = made.node(name)
            node._ports = {"console": str(free_port()), "gateway": str(free_port())}
        with ThreadPoolExecutor(len(NODES)) as threads:
            list(threads.map(Server.start, filter(None, made.nodes.values())))
        yield made
    finally:
        for started in filter(None, made.nodes.values()):
            started.stop()


@contextmanager
def visited(site: Site) -> Iterator[None]:
    """Have a page loaded again and again until the end of the context."""
    people = threading.Thread(target=site.load_pages)
    people.start()
    try:
        yield
    finally:
        site.ended.set()
        people.join()


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("proxy", "order"),
    [
        ("nginx", ("console", "gateway")),
        ("haproxy", ("gateway", "console")),
        ("caddy", ("console", "gateway")),
    ],
)
async def test_nobody_notices(
    site: Site, next_version: list[str], tmp_path: Path, proxy: str, order: tuple[str, str]
) -> None:
    """In both orders no client or page is refused, and every change of a password arrives."""
    pcs = [Pc(site, username) for username in USERS]
    for pc in pcs:
        await asyncio.to_thread(site.installation.add_user, pc.username, pc.password)
    running = running_proxy(
        proxy,
        tmp_path,
        port=site.port,
        gateways=site.ports("gateway"),
        consoles=site.ports("console"),
        certificate=site.certificate,
        limits=LIMITS[proxy],
    )
    with running:
        await asyncio.to_thread(eventually, site.is_up)
        tasks = [asyncio.create_task(pc.run()) for pc in pcs]
        with visited(site):
            names = [f"{part}-{side}" for part in order for side in ("north", "south")]
            for number, name in enumerate(names):
                await asyncio.to_thread(site.upgrade, name, next_version)
                pc, new = pcs[number % 2], f"Wk{number}-qTz+x"
                await asyncio.to_thread(site.change, pc.username, pc.password, new)
                await asyncio.to_thread(eventually, partial(pc.has, new), or_say=pc.refused.copy)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert site.bad_pages == []
    assert [pc.refused for pc in pcs] == [[], []]
    assert all(pc.logins > 1 for pc in pcs)
    outcomes = site.installation.query("SELECT outcome FROM console_pendingchange")
    assert outcomes == [("applied",)] * 4
    assert site.installation.query("SELECT count(*) FROM console_ofnext") == [(0,)]
