"""How a node starts: errors of the database, readiness, and metrics."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from server.cluster import database
from server.config import Config, StartError
from tests.support.browser import Browser
from tests.support.gateway_client import Client
from tests.support.installation import P1, Cluster, Installation, Server
from tests.support.polling import eventually
from tests.support.postgres import Postgres

SECRET = "s3cret-of-the-database"


def problem(url: str) -> str:
    with pytest.raises(StartError) as caught:
        database.check(Config(database=url))
    text = str(caught.value)
    assert "\n" not in text
    assert SECRET not in text
    return text


def passfile(folder: Path, text: str) -> str:
    """Write a private password file. Return the option of a PostgreSQL URL that names it."""
    file = folder / "pgpass"
    file.touch(mode=stat.S_IRUSR | stat.S_IWUSR)
    file.write_text(text)
    return f"?passfile={file}"


def test_what_is_wrong_with_the_database(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each error of the database has its own text with the remedy."""
    role, own = postgres.new_role(SECRET), postgres.url("postgres")
    url = postgres.url("postgres", user=role)
    assert "no password supplied" in problem(url)
    assert "passfile" in problem(url)
    # Other programs can read a password in the environment.
    with monkeypatch.context() as patch:
        patch.setenv("PGPASSWORD", SECRET)
        assert "passfile" in problem(url)
    wrong = url + passfile(tmp_path, "*:*:*:*:not-the-password")
    assert f"the password of {role}" in problem(wrong)
    right = url + passfile(tmp_path, f"127.0.0.1:{postgres.port}:*:{role}:{SECRET}")
    database.check(Config(database=right))
    for address, said in (
        (postgres.url("nowhere"), "createdb --owner=coconowork nowhere"),
        (postgres.url("postgres", user="missing"), "createuser missing"),
        ("postgresql://coconowork@127.0.0.1:1/work", "does PostgreSQL run there"),
        (f"postgresql:///work?host={tmp_path}", "on this machine"),
        ("postgresql://nowhere.invalid/work", "host's name"),
        (f"{own}?sslmode=require", "PostgreSQL cannot be used: "),
    ):
        assert said in problem(address)
    monkeypatch.setattr(database, "OLDEST_SERVER", 99)
    assert "PostgreSQL 15 is too old; 99 or newer is needed" in problem(own)


def test_commands_say_it_in_one_line(postgres: Postgres, tmp_path: Path) -> None:
    """Commands report an error of the database in one line, with exit code 1."""
    url = postgres.new_database().replace("coconowork@", f"{postgres.new_role(SECRET)}@")
    not_ours = url + passfile(tmp_path, f"*:*:*:*:{SECRET}")
    for address, command, said in (
        (postgres.url("nowhere"), ("serve",), "coconowork-server: PostgreSQL cannot be used: "),
        (not_ours, ("createadmin", "--account=ACME", "--user=admin"), "own the database"),
        ("", ("serve", "--only=console"), "needs a database that several processes can share"),
    ):
        installation = Installation(tmp_path / "data", database=address)
        done = installation.run(*command, stdin="Keeper-8361-94\n")
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert said in done.stderr


def asked(url: str) -> tuple[int, str]:
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(url, timeout=30)
        return answer.status_code, answer.text


@pytest.fixture(scope="module")
def odd(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield another node, with metrics, and a secret key of its own."""
    folder = tmp_path_factory.mktemp("odd") / "data"
    folder.mkdir()
    installation = Installation(folder, database=cluster.installation.database)
    with installation.serving(GATEWAY_NAME="counting", METRICS="127.0.0.1:0") as server:
        yield server


def test_another_secret_key(cluster: Cluster, odd: Server) -> None:
    """A console with another secret key than the others warns about it."""
    warning = "had another secret key"
    assert warning in odd.logged()
    assert warning not in cluster.consoles[0].logged()


def figures(server: Server) -> dict[str, float]:
    """Return the metrics of a server by name, and check that they name no user."""
    status, text = asked(f"http://127.0.0.1:{server.port('metrics')}/metrics")
    assert status == 200
    assert "counted" not in text
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#"]
    return {name: float(value) for name, value in lines}


def test_metrics_of_a_console(odd: Server) -> None:
    """The metrics count requests, hashing, and connections to the database."""
    with Browser(odd.console) as browser:
        assert browser.get("/login/").status_code == 200
        assert browser.get("/missing/").status_code == 404
    counts = [f'coconowork_console_request_seconds_count{{status="{each}xx"}}' for each in (2, 4)]

    def counted() -> dict[str, float] | None:
        found = figures(odd)
        return found if set(counts) <= found.keys() else None

    seen = eventually(counted)  # a request is counted after its answer
    assert [seen[each] for each in counts] == [1, 1]
    assert seen["coconowork_console_requests"] == 0
    assert seen['coconowork_hashing{whose="people"}'] == 0
    states = [
        seen[f'coconowork_database_connections{{state="{each}"}}'] for each in ("used", "free")
    ]
    assert sum(states) >= 1


async def test_metrics(odd: Server) -> None:
    """The metrics count waiting clients and the ends of logins, and name no user."""
    odd.installation.add_user("counted")
    assert (await asyncio.to_thread(figures, odd))["coconowork_waiting_clients"] == 0
    async with Client(odd.gateway) as client:
        await client.try_log_in("counted", "not-the-password")
        await client.log_in("counted", P1)
        seen = await asyncio.to_thread(figures, odd)
    assert seen["coconowork_waiting_clients"] == 1
    assert seen['coconowork_logins_total{outcome="current"}'] == 1
    assert seen['coconowork_logins_total{outcome="credentials"}'] == 1
    status, _ = await asyncio.to_thread(asked, f"http://127.0.0.1:{odd.gateway}/metrics")
    assert status == 404
