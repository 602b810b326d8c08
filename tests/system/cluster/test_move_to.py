"""`move-to`: from an SQLite file to PostgreSQL, with everything that users and PCs need."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from protocol import messages
from tests.support.browser import Browser
from tests.support.gateway_client import Client
from tests.support.installation import ADMIN, ADMIN_PASSWORD, P1, P2, Installation
from tests.support.postgres import Postgres

KILLED = """
import os, signal, sys
from server import __main__
from server.commands import move_to
name, number = sys.argv[1], int(sys.argv[2])
work = getattr(move_to, name)
def work_or_die(model, *others):
    global number
    number -= 1
    if number == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return work(model, *others)
setattr(move_to, name, work_or_die)
sys.exit(__main__.main(["move-to", sys.argv[3]]))
"""
"""A `move-to` that kills itself before it copies, or compares, the table of this number."""

TABLES = "SELECT count(*) FROM pg_class WHERE starts_with(relname, 'console')"


def rows(installation: Installation) -> dict[str, list[tuple[object, ...]]]:
    """Return the rows that logins of users and PCs need, by kind."""
    queries = {
        "current": "SELECT id, username, password FROM console_user ORDER BY id",
        "old": "SELECT id, user_id, verifier FROM console_retiredpassword ORDER BY id",
        "pushes": "SELECT id, device_id, sealed, outcome FROM console_pendingchange ORDER BY id",
    }
    return {name: installation.query(query) for name, query in queries.items()}


def move(
    source: Installation, target: Installation, code: str, work: str, number: int
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, work, str(number), target.database]
    environment = source.environment()
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def source(tmp_path: Path) -> Installation:
    made = Installation(tmp_path / "data")
    made.create()
    made.add_user("tanaka")
    return made


async def test_everybody_goes_on_after_the_move(source: Installation, postgres: Postgres) -> None:
    """Sessions, old and new passwords, a pending push and new rows work on PostgreSQL."""
    browser = Browser("")
    with source.serving() as server:
        browser.console = server.console
        async with Client(server.gateway) as pc:
            await pc.log_in("tanaka", P1)
            await asyncio.to_thread(browser.log_in, "tanaka", P1)
            await asyncio.to_thread(browser.change_password, P1, P2)
            await pc.expect(messages.PasswordChanged)  # received, but not proven
        with Browser(server.console) as stranger:
            assert not await asyncio.to_thread(stranger.log_in, ADMIN, "wr0ng-Wrong")
        refused = source.run("move-to", postgres.new_database())
        assert (refused.returncode, "stop it first" in refused.stderr) == (1, True)
    before = rows(source)
    assert [len(each) for each in before.values()] == [2, 1, 1]
    target = Installation(source.directory, database=postgres.new_database())
    moved = source.run("move-to", target.database)
    assert moved.returncode == 0, moved.stderr
    assert "        2  console_user\n" in moved.stdout
    assert rows(target) == before == rows(source)
    with target.serving() as server:
        browser.console = server.console
        assert (await asyncio.to_thread(browser.get, "/password/")).status_code == 200
        async with Client(server.gateway, key=pc.key) as pc:
            assert (await pc.log_in("tanaka", P1)).password == "old"
            pushed = await pc.expect(messages.PasswordChanged)
            assert pc.open(pushed.sealed)["password"] == P2
            assert (await pc.log_in("tanaka", P2)).password == "current"
        with Browser(server.console) as admin:
            assert await asyncio.to_thread(admin.log_in, ADMIN, ADMIN_PASSWORD)
            page = await asyncio.to_thread(admin.send, "/users/new/", username="suzuki")
            assert "User created" in page.text
    browser.close()


@pytest.mark.parametrize(("work", "number"), [("_copy", 9), ("_compare", 17)])
def test_interrupted_and_repeated(
    source: Installation, postgres: Postgres, work: str, number: int
) -> None:
    """Killed at any table, `move-to` leaves an empty database, and can be run again."""
    target = Installation(source.directory, database=postgres.new_database())
    assert move(source, target, KILLED, work, number).returncode == -9
    assert target.query(TABLES) == [(0,)]
    assert source.run("move-to", target.database).returncode == 0
    assert rows(target) == rows(source)
    again = source.run("move-to", target.database)
    assert (again.returncode, "is not empty" in again.stderr) == (1, True)


def test_what_differs_is_noticed(source: Installation, postgres: Postgres) -> None:
    """A row that differs in the target ends the move, and the target is left empty."""
    target = Installation(source.directory, database=postgres.new_database())
    spoiled = KILLED.replace(
        "os.kill(os.getpid(), signal.SIGKILL)",
        "others[0].execute(\"UPDATE console_user SET password = password || 'x'\")",
    )
    done = move(source, target, spoiled, "_copy", 3)
    assert "console_user is not the same there" in done.stderr
    assert target.query(TABLES) == [(0,)]


def test_refused(source: Installation, postgres: Postgres) -> None:
    """An unusable target, or no source, gives one line of error, without the password."""
    for address, said in (
        ("other.sqlite3", "to an address postgresql://"),
        ("postgresql://coconowork:s3cret@127.0.0.1/name", "passfile"),
        ("postgresql://coconowork@127.0.0.1:1/name", "does PostgreSQL run there"),
    ):
        done = source.run("move-to", address)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert said in done.stderr
        assert "s3cret" not in done.stderr
    nothing = Installation(source.directory / "nothing").run("move-to", postgres.new_database())
    assert (nothing.returncode, "there is no such file" in nothing.stderr) == (1, True)
