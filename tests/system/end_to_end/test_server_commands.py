"""`python -m server` as a process: ports, signals, terminals, files, and locks."""

from __future__ import annotations

import asyncio
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
from tests.support.installation import ADMIN, ADMIN_PASSWORD, P1, P2, PROGRAM, Installation


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """Return an installation with an account and its administrator."""
    made = Installation(tmp_path / "data")
    made.create()
    return made


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """Return the error text of a command that failed with exit code 1 and no traceback."""
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


async def test_serve(installation: Installation) -> None:
    """`serve` runs console and gateway, notices commands at once, and ends with 0 at Ctrl-C."""
    installation.add_user("tanaka")
    program = (sys.executable, "-Werror", "-m", "server")
    with installation.serving(program=program) as server, Browser(server.console) as browser:
        assert server.output == [f"console  {server.console}/\n", f"gateway  {server.address}\n"]
        [style] = re.findall(r'href="(/static/[^"]+\.css)"', browser.get("/login/").text)
        sheet = browser.get(style)
        assert sheet.headers["Content-Type"] == 'text/css; charset="utf-8"'
        assert sheet.content
        async with Client(server.gateway) as pc, Client(server.gateway) as other:
            assert (await pc.log_in("tanaka", P1)).console_url == server.console
            await other.log_in(ADMIN, ADMIN_PASSWORD)
            reset = ("reset-password", "--user=tanaka", "--yes")
            await asyncio.to_thread(installation.run, *reset, stdin=f"{P2}\n")
            assert (await pc.expect(messages.PasswordStatus)).password == "old"
            disable = ("users", "disable", "--user=tanaka", "--yes")
            await asyncio.to_thread(installation.run, *disable)
            assert (await pc.expect(messages.Bye)).reason == "disabled"
            server.process.send_signal(signal.SIGINT)
            assert (await other.expect(messages.Bye)).reason == "shutting_down"
            assert await other.closed() == 1001
        assert server.process.wait(timeout=20) == 0
    for path in (installation.file, installation.directory / "secret_key"):
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize(("second", "code"), [(ADMIN_PASSWORD, 0), ("Different-1", 1)])
def test_createadmin_asks_at_a_terminal(tmp_path: Path, second: str, code: int) -> None:
    """At a terminal `createadmin` asks twice for the password, without echo; no file has it."""
    master, slave = pty.openpty()
    command = [*PROGRAM, "createadmin", "--account=A", "--user=u"]
    environment = Installation(tmp_path).environment()
    with subprocess.Popen(
        command, env=environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    ) as process:
        os.close(slave)
        shown, script = b"", [(b"Password: ", ADMIN_PASSWORD), (b"again: ", second)]
        with suppress(OSError):  # end of the terminal
            while part := os.read(master, 4096):
                shown += part
                if script and script[0][0] in shown:
                    os.write(master, script.pop(0)[1].encode() + b"\n")
        assert process.wait(timeout=30) == code
    os.close(master)
    assert not script, shown
    for content in (shown, *(path.read_bytes() for path in tmp_path.iterdir())):
        assert ADMIN_PASSWORD.encode() not in content
        assert second.encode() not in content


def test_output_that_is_not_read(installation: Installation) -> None:
    """When the output's reader ends early, as `head` does, the command reports no error."""
    done = subprocess.run(
        ["sh", "-c", '"$@" users list | true', "sh", *PROGRAM],
        env=installation.environment(),
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    assert done.stderr == b""


def test_migrate_keeps_the_old_database(installation: Installation) -> None:
    """`migrate` copies an SQLite file before a change; processes that start at once take turns."""
    installation.django("migrate", "sessions", "zero", "--verbosity=0")
    with ThreadPoolExecutor(2) as threads:
        done = list(threads.map(lambda _: installation.run("migrate"), range(2)))
    assert [each.stderr for each in done] == [""] * 2
    copies = sorted(installation.directory.glob("coconowork.sqlite3.*"))
    for file, has in ((copies[0], False), (installation.file, True)):
        with closing(sqlite3.connect(file)) as database:
            tables = database.execute("SELECT name FROM sqlite_master").fetchall()
            assert (("django_session",) in tables) == has
            assert database.execute("SELECT username FROM console_user").fetchall() == [(ADMIN,)]
    assert installation.run("migrate").returncode == 0
    assert sorted(installation.directory.glob("coconowork.sqlite3.*")) == copies


def test_gateway_port_in_use(installation: Installation) -> None:
    """The port of the gateway is bound last, and named with its option."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(installation.run("serve", "--port=0", f"--gateway-port={port}"))
    assert f"port {port} is in use" in said
    assert "--gateway-port" in said


def test_database_cannot_be_used(tmp_path: Path) -> None:
    """A file where the folder should be, or that is no database, is named without a traceback."""
    (tmp_path / "file").touch()
    said = refused(Installation(tmp_path / "file" / "below").run("serve", "--port=0"))
    assert str(tmp_path / "file") in said
    (tmp_path / "coconowork.sqlite3").write_text("this is no database, but long enough " * 30)
    said = refused(Installation(tmp_path).run("serve", "--port=0"))
    assert "coconowork.sqlite3: the database cannot be used" in said
