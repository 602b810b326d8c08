"""The Debian package on a bare Debian 12 with systemd, by the commands of docs/server.md."""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import requests

from protocol import messages
from tests.support.bare_debian import BareDebian, bare_debian, make_base
from tests.support.browser import Browser
from tests.support.certificates import Authority
from tests.support.documented import blocks, commands, lines
from tests.support.gateway_client import Client
from tests.support.installation import ADMIN, ADMIN_PASSWORD, P2, P3
from tests.support.places import ROOT
from tests.support.polling import eventually
from tests.support.ports import free_port
from tests.support.postgres import running_postgres
from tests.support.reverse_proxies import program

PAGE = ROOT / "docs" / "server.md"
OPERATIONS_PAGE = ROOT / "docs" / "operations.md"
BACKUP_PAGE = ROOT / "docs" / "backup.md"
NEW_ADMIN_PASSWORD = "Later-1ater"
DATA = "/var/lib/coconowork"
UNITS = ("coconowork", "coconowork-gateway@8081", "coconowork-console@8080")

pytestmark = [
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("debootstrap") is None,
        reason="needs root and debootstrap (.ci/packages test)",
    ),
]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the package as `make deb` does, but do not compress it."""
    folder = tmp_path_factory.mktemp("package")
    build = ["sh", "installer/debian/build", str(folder)]
    environment = {"BIN": str(Path(sys.executable).parent), "DEB_OPTIONS": "-Znone"}
    environment |= {name: text for name, text in os.environ.items() if name[:9] != "COVERAGE_"}
    with ThreadPoolExecutor(1) as threads:
        base = threads.submit(make_base)
        done = subprocess.run(
            build, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        base.result()
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture
def debian(tmp_path: Path) -> Iterator[BareDebian]:
    with bare_debian(tmp_path / "console.log") as machine:
        yield machine


def next_version(package: Path, folder: Path) -> Path:
    """Return a package of version 0.2.0 that differs by one migration."""
    tree = folder / "next"
    subprocess.run(["dpkg-deb", "-R", str(package), str(tree)], check=True)
    control = tree / "DEBIAN" / "control"
    control.write_text(re.sub("^Version: .*", "Version: 0.2.0", control.read_text(), flags=re.M))
    [migrations] = tree.glob("opt/coconowork/lib/*/site-packages/server/console/migrations")
    last = max(path.stem for path in migrations.glob("0*.py"))
    (migrations / "9999_next.py").write_text(
        "from django.db import migrations\n"
        "class Migration(migrations.Migration):\n"
        f"    dependencies = [('console', '{last}')]\n"
        "    operations = [migrations.RunSQL('CREATE TABLE of_next_version (id integer)')]\n"
    )
    new = folder / "coconowork-server_0.2.0_amd64.deb"
    subprocess.run(["dpkg-deb", "-Znone", "--build", str(tree), str(new)], check=True)
    return new


class Site:
    """The server in the container, behind Caddy with the Caddyfile of docs/server.md."""

    def __init__(self, debian: BareDebian, folder: Path) -> None:
        self.debian = debian
        self.authority = Authority(folder / "tls")
        self.folder = folder
        self.port = free_port()
        self.address = f"https://127.0.0.1:{self.port}"

    def configure(self, settings: str) -> None:
        """Write the settings of the page with free ports."""
        ports = {"port": free_port(), "gateway_port": free_port()}
        own = "".join(f"{name} = {port}\n" for name, port in ports.items())
        text = settings.replace("https://coconowork.example", self.address)
        self.debian.path("/etc/coconowork/server.toml").write_text(text + own)
        self.ports = {"8080": ports["port"], "8081": ports["gateway_port"]}

    @contextmanager
    def behind_caddy(self, text: str) -> Iterator[None]:
        """Run Caddy with the page's file, for the test's address and certificate."""
        certificate = self.authority.issue()
        text = text.replace(
            "coconowork.example {", f"{self.address} {{\n tls {certificate} {certificate}"
        )
        for written, port in self.ports.items():
            text = text.replace(f"127.0.0.1:{written}", f"127.0.0.1:{port}")
        file = self.folder / "Caddyfile"
        file.write_text(f"{{\n admin off\n auto_https disable_redirects\n}}\n{text}")
        command = [program("caddy"), "run", "--adapter", "caddyfile", "--config", str(file)]
        with (self.folder / "caddy.log").open("wb") as log:
            self._caddy = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield
        finally:
            self._caddy.terminate()
            self._caddy.wait(timeout=30)

    def browser(self) -> Browser:
        return Browser(self.address, authority=self.authority.file)

    def client(self) -> Client:
        return Client(self.port, scheme="wss", ssl=self.authority.trust())

    def is_ready(self) -> bool:
        assert self._caddy.poll() is None, (self.folder / "caddy.log").read_text()
        try:
            with self.browser() as browser:
                return bool(browser.get("/readyz").status_code == 200)
        except requests.RequestException:
            return False


async def test_from_nothing_to_a_push_and_back(
    debian: BareDebian, package: Path, tmp_path: Path
) -> None:
    """Each command of the page works: installation, first push, upgrade, removal, purge."""
    for file in (package, next_version(package, tmp_path)):
        shutil.copy(file, debian.path("/root"))
    before = everything(debian)
    [install], [enable, create] = [lines(block) for block in blocks(PAGE, "sh")[:2]]
    assert "systemctl enable --now coconowork" in debian.run(install)
    assert debian.run("systemctl is-active coconowork", succeeds=False).strip() == "inactive"
    site = Site(debian, tmp_path)
    site.configure(blocks(PAGE, "toml")[0])
    debian.run(enable)
    debian.run(create, stdin=f"{ADMIN_PASSWORD}\n")
    with site.behind_caddy(blocks(PAGE, "caddyfile")[0]):
        await asyncio.to_thread(eventually, site.is_ready, or_say=lambda: log_of(debian))
        shutil.copy(site.authority.file, debian.path("/srv"))
        report = debian.run("SSL_CERT_FILE=/srv/authority.pem coconowork-server doctor")
        assert "No fault was found" in report
        assert "!" not in report
        temporary = await asyncio.to_thread(new_user, site, "tanaka")
        async with site.client() as pc:
            await asyncio.to_thread(change, site, temporary, P2, asks_current=False)
            await pc.log_in("tanaka", P2)
            await asyncio.to_thread(change, site, P2, P3)
            pushed = await pc.expect(messages.PasswordChanged)
            assert pc.open(pushed.sealed)["password"] == P3
            assert (await pc.log_in("tanaka", P3)).password == "current"
        backup, restore = (lines(block) for block in blocks(BACKUP_PAGE, "sh")[:2])
        for command in backup:
            debian.run(command)
        reset = documented("reset-password")
        debian.run(reset, stdin=f"y\n{NEW_ADMIN_PASSWORD}\n")
        for command in restore:
            debian.run(command)
        debian.run(reset, stdin=f"y\n{NEW_ADMIN_PASSWORD}\n")  # the first is undone
        assert "Started" in debian.run(documented("journalctl"))
        debian.run(documented("systemctl restart"))
        debian.run(documented("_0.2.0_"))
        await asyncio.to_thread(eventually, site.is_ready, or_say=lambda: log_of(debian))
        with site.browser() as browser:
            assert browser.log_in(ADMIN, NEW_ADMIN_PASSWORD)
        async with site.client() as pc:
            assert (await pc.log_in("tanaka", P3)).password == "current"
    kept = max(debian.path(DATA).glob("coconowork.sqlite3.2*"))  # made by `restore`
    debian.run("coconowork-server backup /backups/after.sqlite3")
    for file, has in ((kept, False), (debian.path("/backups/after.sqlite3"), True)):
        shutil.copy(file, tmp_path / "looked-at.sqlite3")
        with closing(sqlite3.connect(tmp_path / "looked-at.sqlite3")) as database:
            names = database.execute("SELECT name FROM sqlite_master").fetchall()
        assert (("of_next_version",) in names) == has
    debian.run(documented("apt remove"), stdin="y\n")
    assert debian.path(f"{DATA}/coconowork.sqlite3").is_file()
    assert not debian.path("/opt/coconowork").exists()
    debian.run(documented("apt purge"), stdin="y\n")
    debian.run("rm -r /backups /srv/authority.pem")
    assert everything(debian) == before - {"/opt"}  # dpkg removes an empty /opt


def documented(part: str) -> str:
    """Return the page's only command that has `part`."""
    [found] = {each for each in commands(PAGE) if part in each}
    return found


def everything(debian: BareDebian) -> set[str]:
    """Return all files and users, except the system's logs and caches."""
    skipped = "/proc /sys /dev /run /tmp /var/log /var/lib/dpkg /var/lib/apt /var/cache /root"
    prune = " -o ".join(f"-path {each}" for each in skipped.split())
    files = debian.run(rf"find / \( {prune} \) -prune -o -print").splitlines()
    return {*files, *debian.path("/etc/passwd").read_text().splitlines()}


def log_of(debian: BareDebian) -> str:
    return debian.run("journalctl --no-pager -u 'coconowork*'")


def new_user(site: Site, name: str) -> str:
    """Create a user in the console. Return the temporary password."""
    with site.browser() as browser:
        assert browser.log_in(ADMIN, ADMIN_PASSWORD)
        page = browser.send("/users/new/", username=name)
        shown: list[str] = re.findall(r'<code id="temporary">([^<]+)<', page.text)
        [temporary] = shown
        return temporary


def change(site: Site, current: str, new: str, *, asks_current: bool = True) -> None:
    """Change the password on the console, as the user does."""
    fields = {"new_password1": new, "new_password2": new}
    if asks_current:
        fields["current_password"] = current
    with site.browser() as browser:
        assert browser.log_in("tanaka", current)
        assert "The password was changed" in browser.send("/password/", **fields).text


def test_several_nodes(debian: BareDebian, package: Path) -> None:
    """The move to PostgreSQL and the services of docs/operations.md; each service has metrics.

    `systemd-analyze` finds no error in any unit, and rates the sandbox of each as closed.
    """
    shutil.copy(package, debian.path("/root"))
    debian.run("apt install ./*.deb")
    for unit in UNITS:
        assert debian.run(f"systemd-analyze verify --man=no {unit}.service") == ""
        debian.run(f"systemd-analyze security --threshold=20 {unit}.service")
    debian.run('coconowork-server createadmin --account "ACME" --user admin', stdin=ADMIN_PASSWORD)
    move = next(block for block in blocks(OPERATIONS_PAGE, "sh") if "move-to" in block)
    ports = {written: free_port_of_four_digits() for written in ("8080", "8081", "8082")}
    shown = [line for block in blocks(OPERATIONS_PAGE, "sh") for line in lines(block)]
    enable, another, examine = (
        re.sub(r"808\d", lambda found: str(ports[found[0]]), each)
        for each in shown
        if each.startswith("systemctl enable") or "doctor" in each
    )
    with running_postgres() as postgres:
        database = postgres.new_database()
        address = move.split('"')[1]
        debian.run(move.replace(address, database))
        settings = f'database = "{database}"\nport = {ports["8080"]}\n'
        debian.path("/etc/coconowork/server.toml").write_text(settings)
        debian.run(enable)
        debian.run(another)

        def served(port: int, path: str) -> bool:
            with suppress(requests.ConnectionError):
                return requests.get(f"http://127.0.0.1:{port}{path}", timeout=10).ok
            return False

        for port in ports.values():
            eventually(partial(served, port, "/readyz"), or_say=lambda: log_of(debian))
            assert served(10_000 + port, "/metrics")
        assert f"gateway: ready at 127.0.0.1 port {ports['8082']}" in debian.run(examine)
        with Browser(f"http://127.0.0.1:{ports['8080']}") as browser:
            assert browser.log_in(ADMIN, ADMIN_PASSWORD)
        [stop] = [each for each in commands(BACKUP_PAGE) if "*" in each]
        debian.run(stop)
        assert not served(ports["8080"], "/healthz")


def free_port_of_four_digits() -> int:
    """Return a free port of four digits: the metrics' port has one more digit."""
    for port in random.sample(range(2_000, 10_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError


def test_contents(package: Path, tmp_path: Path) -> None:
    """The package has exactly the pinned packages, and compiled catalogues."""
    subprocess.run(["dpkg-deb", "-x", str(package), str(tmp_path)], check=True)
    [site] = tmp_path.glob("opt/coconowork/lib/*/site-packages")
    pinned = re.findall(r"^([\w.-]+==\S+)", (ROOT / "server/requirements.txt").read_text(), re.M)
    found = {
        path.name.removesuffix(".dist-info").replace("_", "-").lower()
        for path in site.glob("*.dist-info")
    }
    windows = {"tzdata"}
    expected = {each.replace("==", "-") for each in pinned if each.split("==")[0] not in windows}
    assert {each for each in found if not each.startswith("coconowork-")} == expected
    assert list(site.glob("server/console/locale/ja/LC_MESSAGES/django.mo"))
    assert not (site / "agent").exists()
