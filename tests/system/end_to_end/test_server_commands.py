"""The commands of `python -m server`, as processes of their own."""

from __future__ import annotations

import os
import pty
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest

from protocol import messages
from tests.support.browser import Browser
from tests.support.gateway_client import Client
from tests.support.installation import ADMIN, ADMIN_PASSWORD, Installation

PROGRAM = (sys.executable, "-Werror", "-m", "server")
NEW_PASSWORD = "Later-1ater"


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Return an installation with an account and its administrator."""
    made = Installation(tmp_path_factory.mktemp("server") / "data")
    made.create()
    return made


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a command has said that failed as it should: with 1, and no traceback."""
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


async def test_serve(installation: Installation) -> None:
    """`serve` runs console and gateway, and ends with 0 at SIGTERM."""
    with installation.serving(program=PROGRAM) as server, Browser(server.console) as browser:
        assert server.output == [
            f"console  {server.console}/\n",
            f"gateway  {server.address}\n",
        ]
        page = browser.get("/login/")
        assert page.status_code == 200
        [style] = re.findall(r'href="(/static/[^"]+\.css)"', page.text)
        sheet = browser.get(style)
        assert sheet.headers["Content-Type"] == 'text/css; charset="utf-8"'
        assert sheet.status_code == 200
        assert sheet.content
        async with Client(server.gateway) as client:
            welcome = await client.log_in(ADMIN, ADMIN_PASSWORD)
            assert welcome.console_url == server.console
            server.process.send_signal(signal.SIGTERM)
            assert (await client.expect(messages.Bye)).reason == "shutting_down"
            assert await client.closed() == 1001
        assert server.process.wait(timeout=20) == 0


def test_interrupt(installation: Installation) -> None:
    """Ctrl-C ends the server with 0."""
    with installation.serving(program=PROGRAM) as server:
        assert server.stop(signal.SIGINT) == 0


def test_files_are_private(installation: Installation) -> None:
    """Database and secret key are readable by their owner only, and have no password."""
    for path in (installation.file, installation.directory / "secret_key"):
        assert path.stat().st_mode & 0o077 == 0, path
    for path in installation.directory.iterdir():
        assert ADMIN_PASSWORD.encode() not in path.read_bytes()
    [(encoded, role)] = installation.query("SELECT password, role FROM console_user")
    assert encoded.startswith("scram_sha256$600000$")
    assert role == "administrator"


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (("--account=ACME", "--user=admin"), ADMIN_PASSWORD, "is taken"),
        (("--account=ACME", "--user=other"), "", "standard input"),
        (("--account=ACME", "--user=other"), "short", "at least 8|8 to 64"),
        (("--account= ", "--user=other"), ADMIN_PASSWORD, "blank"),
    ],
)
def test_createadmin_refuses(
    installation: Installation, arguments: tuple[str, ...], stdin: str, said: str
) -> None:
    """`createadmin` refuses wrong input in one sentence, and makes no user."""
    done = installation.run("createadmin", *arguments, stdin=stdin)
    assert done.returncode == 1
    assert re.search(said, done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert installation.query("SELECT count(*) FROM console_user") == [(1,)]


def test_createadmin_finds_the_account_by_its_visible_name(installation: Installation) -> None:
    """Invisible characters of a pasted name make no second account that looks the same."""
    for number, account in enumerate(("A\u202eCME", "ACME\x07\n", "\u3000ＡＣＭＥ")):
        done = installation.run(
            "createadmin", f"--account={account}", f"--user=more{number}", stdin=ADMIN_PASSWORD
        )
        assert done.returncode == 0, done.stderr
    assert installation.query("SELECT name FROM console_account") == [("ACME",)]


@pytest.mark.parametrize(("second", "code"), [(ADMIN_PASSWORD, 0), ("Different-1", 1)])
def test_createadmin_asks_at_a_terminal(tmp_path: Path, second: str, code: int) -> None:
    """At a terminal the password is asked for twice, without echo."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "server", "createadmin", "--account=A", "--user=u"]
    environment = Installation(tmp_path).environment()
    with subprocess.Popen(
        command, env=environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    ) as process:
        os.close(slave)
        shown, script = b"", [(b"Password: ", ADMIN_PASSWORD), (b"again: ", second)]
        with suppress(OSError):  # the other side is closed
            while part := os.read(master, 4096):
                shown += part
                if script and script[0][0] in shown:
                    os.write(master, script.pop(0)[1].encode() + b"\n")
        assert process.wait(timeout=30) == code
    os.close(master)
    assert not script, shown
    assert ADMIN_PASSWORD.encode() not in shown
    assert second.encode() not in shown


@pytest.mark.parametrize(
    ("user", "stdin", "said"),
    [
        ("missing", f"y\n{NEW_PASSWORD}\n", "no user missing"),
        (ADMIN, f"\n{NEW_PASSWORD}\n", "Nothing was done"),
        (ADMIN, "", "Nothing was done"),
        (ADMIN, "y\nshort\n", "8 to 64"),
        (ADMIN, f"y\n{ADMIN_PASSWORD}\n", "neither the current password"),
        (ADMIN, "y\n", "standard input"),
    ],
)
def test_reset_password_refuses(
    installation: Installation, user: str, stdin: str, said: str
) -> None:
    """`reset-password` changes nothing without a yes and a password that the rules allow."""
    before = installation.query("SELECT password FROM console_user")
    done = installation.run("reset-password", f"--user={user}", stdin=stdin)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert installation.query("SELECT password FROM console_user") == before


async def test_reset_password(tmp_path: Path) -> None:
    """An administrator logs in with the new password, the PC with the old one; the trail has it."""
    installation = Installation(tmp_path / "data")
    installation.create()
    done = installation.run("reset-password", f"--user={ADMIN}", "--yes", stdin=NEW_PASSWORD)
    assert done.returncode == 0, done.stderr
    assert installation.query(
        "SELECT action, actor_name, subject_name FROM console_auditevent ORDER BY id DESC LIMIT 1"
    ) == [("password.forced", "", ADMIN)]
    with installation.serving() as server:
        for password, state in ((ADMIN_PASSWORD, "old"), (NEW_PASSWORD, "current")):
            async with Client(server.gateway) as client:
                assert (await client.log_in(ADMIN, password)).password == state


def test_migrate_keeps_the_old_database(tmp_path: Path) -> None:
    """`migrate` copies an SQLite file before it changes; programs that start at once take turns."""
    installation = Installation(tmp_path / "data")
    installation.create()
    installation.django("migrate", "sessions", "zero", "--verbosity=0")
    with ThreadPoolExecutor(3) as threads:
        done = list(threads.map(lambda _: installation.run("migrate"), range(3)))
    assert [each.stderr for each in done] == [""] * 3
    copies = sorted(installation.directory.glob("coconowork.sqlite3.*"))
    assert copies
    for file, has in ((copies[0], False), (installation.file, True)):
        with closing(sqlite3.connect(file)) as database:
            tables = database.execute("SELECT name FROM sqlite_master").fetchall()
            assert (("django_session",) in tables) == has
            assert database.execute("SELECT username FROM console_user").fetchall() == [(ADMIN,)]
    assert installation.run("migrate").returncode == 0
    assert sorted(installation.directory.glob("coconowork.sqlite3.*")) == copies


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--host=0.0.0.0",), "trusted_proxies"),
        (("--host=::", "--public-url=https://c.example"), "--behind-proxy"),
        (("--host=0.0.0.0", "--behind-proxy=10.0.0.0/8"), "--public-url"),
        (("--public-url=https://c.example",), "--behind-proxy"),
        (("--behind-proxy=here",), "--behind-proxy: allowed is"),
        (("--port=many",), "0 to 65535"),
        (("--host=203.0.113.1", "--behind-proxy=::1", "--public-url=https://c.example"), "cannot"),
    ],
)
def test_serve_refuses(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    """`serve` refuses unsafe or wrong settings, and names the option."""
    assert said in refused(Installation(tmp_path).run("serve", *arguments))


@pytest.mark.parametrize("option", ["--port", "--gateway-port", "--metrics"])
def test_port_in_use(installation: Installation, option: str) -> None:
    """A port that is in use is named, with its option or setting."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        others = {"--port": "0", "--gateway-port": "0"}
        if option == "--metrics":
            settings, named = {"METRICS": f"127.0.0.1:{port}"}, "`metrics`"
        else:
            settings, named = {}, option
            others[option] = str(port)
        arguments = [f"{name}={value}" for name, value in others.items()]
        said = refused(installation.run("serve", *arguments, **settings))
    assert f"port {port} is in use" in said
    assert named in said


def test_database_cannot_be_written(tmp_path: Path) -> None:
    """A database that cannot be used is named, without a traceback."""
    (tmp_path / "file").touch()
    said = refused(Installation(tmp_path / "file" / "below").run("serve", "--port=0"))
    assert str(tmp_path / "file") in said
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "coconowork.sqlite3").write_text("this is no database, but long enough " * 30)
    said = refused(Installation(folder).run("serve", "--port=0"))
    assert "coconowork.sqlite3: the database cannot be used" in said
