"""`coconowork-server doctor` with real faults, behind nginx with the page's configuration."""

from __future__ import annotations

import errno
import io
import os
import re
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from unittest import mock

import pytest

from server.__main__ import main
from server.config import Config
from server.doctor import step
from tests.support.certificates import Authority
from tests.support.installation import PROGRAM, Installation, Server
from tests.support.places import ROOT
from tests.support.ports import free_port
from tests.support.reverse_proxies import SMALL, running_proxy

MARK = "Telltale"


@dataclass
class Site:
    """A server and its settings behind nginx."""

    installation: Installation
    authority: Authority
    server: Server
    settings: dict[str, str]
    port: int

    def behind_nginx(
        self,
        folder: Path,
        changes: Mapping[str, str] | None = None,
        certificate: Path | None = None,
    ) -> AbstractContextManager[object]:
        """Run nginx with the page's configuration; `changes` replaces texts in it."""
        return running_proxy(
            "nginx",
            folder,
            port=self.port,
            gateways=[self.server.gateway] * 2,
            consoles=[self.server.console_port] * 2,
            certificate=certificate or self.authority.issue(),
            limits={**SMALL, **(changes or {})},
        )

    def examine(self, *options: str, **settings: str) -> tuple[int, dict[str, str]]:
        ports = f"--port={self.server.console_port}", f"--gateway-port={self.server.gateway}"
        return examine(self.installation, *ports, *options, **(self.settings | settings))


def doctor(installation: Installation, *options: str, **settings: str) -> tuple[int, str]:
    """Run `doctor` in this process. Return its exit code and its output."""
    said, environment = io.StringIO(), installation.environment(**settings)
    with mock.patch.dict(os.environ, environment), redirect_stdout(said), redirect_stderr(said):
        return main(["doctor", *options]), said.getvalue()


def examine(
    installation: Installation, *options: str, **settings: str
) -> tuple[int, dict[str, str]]:
    """Run `doctor`. Return its exit code, and outcome and text of each step."""
    code, said = doctor(installation, *options, **settings)
    assert "unexpectedly" not in said
    steps = re.split(r"^(\w[\w ]+): (?=ok|skipped|WARNING|FAULT)", said, flags=re.M)
    return code, dict(zip(steps[1::2], steps[2::2], strict=True))


def faults(steps: dict[str, str]) -> set[str]:
    return {name for name, text in steps.items() if text.startswith("FAULT")}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    authority = Authority(folder / "tls")
    installation = Installation(folder / "data")
    installation.create()
    port, metrics = free_port(), free_port()
    settings = {
        "PUBLIC_URL": f"https://127.0.0.1:{port}",
        "TRUSTED_PROXIES": "127.0.0.1",
        "METRICS": f"127.0.0.1:{metrics}",
    }
    with installation.serving(**settings) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(authority.file))
        yield Site(installation, authority, server, settings, port)


def test_all_is_well(site: Site, tmp_path: Path) -> None:
    """Every step is ok; the report is written to a file, but never over a file."""
    report = tmp_path / "report.txt"
    with site.behind_nginx(tmp_path):
        code, steps = site.examine(f"--output={report}")
        assert doctor(site.installation, f"--output={report}")[0] == 1
    assert {name: text.split()[0] for name, text in steps.items()} == dict.fromkeys(steps, "ok")
    assert code == 0
    assert "29 days left" in steps["Certificate"]
    assert "speaks coconowork.v1" in steps["Proxy to the gateway"]
    assert "metrics: 127.0.0.1" in steps["Services"]
    assert "websockets" in report.read_text()
    assert report.stat().st_mode & 0o777 == 0o600


FORWARDED = "proxy_set_header X-Forwarded-For $remote_addr;"
APPENDED = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"


@pytest.mark.parametrize(
    ("changes", "where", "said"),
    [
        ({FORWARDED: ""}, {"console", "gateway"}, "a stranger has written"),
        (
            {FORWARDED: 'proxy_set_header X-Forwarded-For "";'},
            {"console", "gateway"},
            "sends no X-Forwarded-For",
        ),
        ({FORWARDED: APPENDED}, set(), "127.0.0.1"),
        ({"X-Forwarded-Proto https": "X-Forwarded-Proto http"}, {"console"}, "not https"),
        ({"proxy_set_header Host $host;": ""}, {"console"}, "the host coconowork_consoles"),
        ({"location = /gateway": "location = /elsewhere"}, {"gateway"}, "/gateway to a console"),
        ({"Upgrade $http_upgrade": 'Upgrade ""'}, {"gateway"}, "no WebSocket opens"),
        ({"location = /gateway {": "location = /gateway { return 502;"}, {"gateway"}, "502"),
        ({"location / {": "location / { return 302 /moved;"}, {"console"}, "(status 302)"),
    ],
)
def test_broken_proxies(
    site: Site, tmp_path: Path, changes: dict[str, str], where: set[str], said: str
) -> None:
    """A fault of the proxy fails its own step, with the cause, and no other step."""
    with site.behind_nginx(tmp_path, changes):
        code, steps = site.examine()
    assert faults(steps) == {f"Proxy to the {each}" for each in where}
    assert all(said in steps[f"Proxy to the {each}"] for each in where or {"console"})
    assert code == bool(where)


@pytest.mark.parametrize(
    ("name", "days", "said"),
    [
        ("127.0.0.1", (-30, -1), "FAULT has expired"),
        ("gw.example.com", (-1, 30), "FAULT mismatch"),
        ("unknown", (-1, 30), "FAULT fullchain"),
        ("127.0.0.1", (-80, 9), "WARNING ends soon"),
        ("127.0.0.1", (-1, 5), "ok 4 days left"),
    ],
)
def test_certificates(
    site: Site, tmp_path: Path, name: str, days: tuple[int, int], said: str
) -> None:
    """A bad certificate fails its step with the cause, and the later steps run."""
    outcome, _, said = said.partition(" ")
    authority = site.authority
    if name == "unknown":
        name, authority = "127.0.0.1", Authority(tmp_path / "other")
    with site.behind_nginx(tmp_path, certificate=authority.issue(name, days=days)):
        _, steps = site.examine()
    assert steps["Certificate"].startswith(outcome)
    assert said in steps["Certificate"]
    assert faults(steps) <= {"Certificate"}


def test_settings_differ_from_the_proxy(site: Site, tmp_path: Path) -> None:
    """The report names a proxy that is not trusted, and says to restart after the change."""
    with site.behind_nginx(tmp_path):
        _, steps = site.examine(TRUSTED_PROXIES="10.9.9.9")
    for part in ("console", "gateway"):
        assert 'trusted_proxies = ["127.0.0.1"]' in steps[f"Proxy to the {part}"]
        assert "restart it" in steps[f"Proxy to the {part}"]


def test_public_url_that_never_answers(site: Site) -> None:
    """A machine that accepts connections and never answers does not delay the report."""
    with socket.create_server(("127.0.0.1", site.port)):
        _, steps = site.examine()
    assert faults(steps) == {"Certificate"}
    assert "timed out" in steps["Certificate"]


def test_nothing_runs_and_much_is_open(tmp_path: Path) -> None:
    """Without a server, settings, database, files and trusted proxies are still examined."""
    installation = Installation(tmp_path / "data")
    installation.create()
    installation.query("DELETE FROM django_migrations WHERE app = 'console'")
    installation.query("INSERT INTO django_migrations VALUES (999, 'console', '9999_next', '')")
    (tmp_path / "data" / "secret_key").chmod(0o644)
    unknown = "https://no-such-host.invalid"
    _, steps = examine(installation, TRUSTED_PROXIES="0.0.0.0/0", PUBLIC_URL=unknown)
    assert faults(steps) == {"Settings", "Files", "Database", "Services", "Certificate"}
    assert "the name in your DNS" in steps["Certificate"]
    assert "addresses of strangers" in steps["Settings"]
    assert "pending: console.0001_initial" in steps["Database"]
    assert "console.9999_next" in steps["Database"]
    assert f"chmod 600 {tmp_path}/data/secret_key" in steps["Files"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no database at all" * 100, "not a database"),
        (b"", "no tables yet"),
        (None, "no database yet"),
    ],
)
def test_odd_database_files(tmp_path: Path, content: bytes | None, said: str) -> None:
    """The doctor distinguishes damaged, empty and missing database files, and makes none."""
    installation = Installation(tmp_path)
    if content is not None:
        installation.file.write_bytes(content)
    before = sorted(tmp_path.iterdir())
    _, steps = examine(installation)
    assert said in steps["Database"]
    assert sorted(tmp_path.iterdir()) == before


def test_a_step_that_ends_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that ends after its deadline does not change the report."""
    monkeypatch.setattr(step, "STEP_SECONDS", 0.1)
    is_over, has_ended = Event(), Event()

    def work(slow: step.Step, _: step.Facts) -> None:
        slow.note("asking")
        is_over.wait(20)
        try:
            slow.skip("nothing there")
        finally:
            has_ended.set()

    found = step.run_step("Clock", work, step.Facts(Config()))
    is_over.set()
    assert has_ended.wait(20)
    assert (found.outcome, len(found.lines)) == ("FAULT", 3)
    assert "last thing named above" in found.lines[-1]


def test_no_folder_for_temporary_files(tmp_path: Path) -> None:
    """Without a folder for temporary files, the report does not blame the database."""
    installation = Installation(tmp_path)
    installation.create()
    missing = FileNotFoundError(errno.ENOENT, "No usable temporary directory found")
    with mock.patch("server.doctor.tables.TemporaryDirectory", side_effect=missing):
        _, said = doctor(installation)
    assert "no database yet" not in said
    assert "failed unexpectedly: FileNotFoundError" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_as_a_stranger(tmp_path: Path) -> None:
    """A user without read rights gets a report, too, with the remedy."""
    installation = Installation(tmp_path / "data")
    installation.create()
    (tmp_path / "data").chmod(0o700)
    become = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", *PROGRAM]
    run = partial(subprocess.run, env=installation.environment(), cwd=ROOT, check=False)
    if run([*become, "--help"], capture_output=True).returncode:
        pytest.skip("another user cannot read this Python")
    done = run([*become, "doctor"], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "as user 54321" in done.stdout
    assert "unexpectedly" not in done.stdout
    assert "run this as the server's user" in done.stdout


@pytest.mark.parametrize("is_silent", [False, True])
def test_postgresql_is_away(tmp_path: Path, is_silent: bool) -> None:
    """A database that refuses, or accepts and never answers, is a fault within its deadline."""
    with socket.create_server(("127.0.0.1", 0)) as there:
        port = there.getsockname()[1]
        if not is_silent:
            there.close()
        address = f"postgresql://coconowork@127.0.0.1:{port}/coconowork"
        _, steps = examine(Installation(tmp_path, database=address))
    assert {"Database", "Services"} == faults(steps)
    assert "does PostgreSQL run there" in steps["Database"]


def test_no_secret_is_told(site: Site, tmp_path: Path) -> None:
    """Secrets in all places where the doctor reads are neither printed nor written."""
    passwords = tmp_path / "pgpass"
    passwords.write_text(f"*:*:*:*:{MARK}\n")
    key = tmp_path / "secret_key"
    key.write_text(MARK)
    address = "postgresql://coconowork@127.0.0.1:1/coconowork"
    file = tmp_path / "server.toml"
    file.write_text(f'database = "{address}?password={MARK}"\n{MARK} = "{MARK}"\n')
    own = {
        "DATABASE": f"{address}?passfile={passwords}&application_name={MARK}",
        "SECRET_KEY_FILE": str(key),
        "NEWEST_CLIENT": f"9.9 https://me:{MARK}@example.com/setup.exe?token={MARK}",
    }
    with site.behind_nginx(tmp_path):
        for number, settings in enumerate(
            (
                own,
                {"DATABASE": f"{address}?password={MARK}"},
                {"DATABASE": f"postgresql://coconowork:{MARK}@127.0.0.1:1/coconowork"},
                {"DATABASE": f"mysql://me:{MARK}@127.0.0.1/x"},
                {"PUBLIC_URL": f"https://me:{MARK}@example.com"},
                {"PASSWORD": MARK},
                {"CONFIG": str(file)},
            )
        ):
            report = tmp_path / f"report{number}.txt"
            changed = site.settings | settings
            code, said = doctor(site.installation, f"--output={report}", **changed)
            assert code == 1
            assert "FAULT" in report.read_text()
            assert MARK not in said + report.read_text()
