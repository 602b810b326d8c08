"""An installation of the server: settings, a database, and its processes."""

from __future__ import annotations

import atexit
import functools
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import psycopg

from server.console.hashers import ITERATIONS, format_verifier, hash_password
from tests.support.browser import Browser
from tests.support.polling import eventually
from tests.support.postgres import Postgres

ADMIN, ADMIN_PASSWORD = "admin", "Keeper-8361-94"
P1, P2, P3 = "Passw0rd!", "Second-2nd", "Third+3rd"
SALT = b"a salt for tests"
STOP_S = 30
PROGRAM = (sys.executable, "-m", "server")


@functools.cache
def verifier(password: str) -> str:
    """Return the verifier of a password as the database stores it."""
    return format_verifier(hash_password(password, salt=SALT, iterations=ITERATIONS))


class Server:
    """A process that runs `serve`; a restart listens on the same ports as before."""

    def __init__(
        self,
        installation: Installation,
        *,
        program: Sequence[str] = PROGRAM,
        **settings: str,
    ) -> None:
        self.log = installation.directory.with_suffix(".log")
        self.output: list[str] = []
        self.process: subprocess.Popen[str]
        self.installation = installation
        self._program = program
        self._settings = settings
        self._ports = {"console": "0", "gateway": "0"}

    def start(self) -> None:
        """Start the process. Return once it listens."""
        self.output = []
        ports = [f"--port={self._ports['console']}", f"--gateway-port={self._ports['gateway']}"]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("a") as stderr:
            self.process = subprocess.Popen(
                [*self._program, "serve", *ports],
                env=self.installation.environment(**self._settings),
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        last = "console " if self._settings.get("ROLE") == "console" else "gateway "
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output.append(line)
            if line.startswith(last):
                break
        assert self.output, self.logged()
        if "ROLE" not in self._settings and "PUBLIC_URL" not in self._settings:
            self._ports = {what: str(self.port(what)) for what in self._ports}

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """End the process with a signal. Return its exit code."""
        assert self.process.stdout is not None
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
            self.process.wait(timeout=STOP_S)
        self.process.stdout.close()
        return self.process.returncode

    def port(self, what: str) -> int:
        """Return the port of `console` or `gateway` that the server has printed."""
        [found] = re.findall(rf"^{what} .*:(\d+)/", "".join(self.output), re.MULTILINE)
        return int(found)

    @property
    def console(self) -> str:
        return f"http://127.0.0.1:{self.port('console')}"

    @property
    def console_port(self) -> int:
        """Return the port of the console, which prints its public address instead."""
        found = psutil.Process(self.process.pid).net_connections("tcp")
        ports = {each.laddr.port for each in found if each.status == psutil.CONN_LISTEN}
        metrics = self._settings.get("METRICS", "").rpartition(":")[2] or "0"
        [port] = ports - {self.gateway, int(metrics)}
        return int(port)

    @property
    def gateway(self) -> int:
        return self.port("gateway")

    @property
    def address(self) -> str:
        """Return the gateway's address, as a user types it into the client."""
        return f"ws://127.0.0.1:{self.gateway}/gateway"

    def logged(self) -> str:
        """Return the process's standard error."""
        return self.log.read_text()

    def cpu_s(self) -> float:
        """Return the CPU seconds that the process has used so far."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def browser(self, username: str, password: str) -> Browser:
        """Return a browser in which this user has logged in."""
        opened = Browser(self.console)
        assert opened.log_in(username, password), username
        return opened

    def wait_until_ready(self) -> None:
        """Wait until gateway and console can use their database."""
        with Browser(self.console) as browser:
            eventually(lambda: browser.get("/readyz").status_code == 200, within_s=60)


class Installation:
    """One installation: settings, a database, and the processes on it."""

    def __init__(self, directory: Path, *, database: str = "") -> None:
        """Set `database`, as in the settings; empty: an SQLite file in `directory`."""
        self.directory = directory
        self.database = database

    @property
    def file(self) -> Path:
        return self.directory / "coconowork.sqlite3"

    def environment(self, **more: str) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if name in {"PATH", "HOME"} or name.startswith("COVERAGE_")
        }
        settings = {"DATA_DIR": str(self.directory), "DATABASE": self.database, "LANGUAGE": "en"}
        named = {f"COCONOWORK_SERVER_{key}": value for key, value in (settings | more).items()}
        return {**kept, **named, "LC_ALL": "C.UTF-8"}

    def run(
        self, *arguments: str, stdin: str = "", **settings: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one command of the server to its end."""
        return subprocess.run(
            [*PROGRAM, *arguments],
            env=self.environment(**settings),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def django(self, *arguments: str) -> str:
        """Run one of Django's own commands; return what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "django", *arguments, "--settings=server.settings"],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def create(
        self,
        *,
        account: str = "ACME",
        user: str = ADMIN,
        password: str = ADMIN_PASSWORD,
        name: str = "",
    ) -> None:
        """Make the database, an account and its administrator, by the command line.

        An SQLite database is made once per run, and copied.
        """
        wanted = (f"--account={account}", f"--user={user}", f"--name={name}")
        if not self.database and not self.directory.exists():
            shutil.copytree(_made_once(wanted, password), self.directory)
        else:
            self.create_admin(wanted, password)

    def create_admin(self, wanted: Sequence[str], password: str) -> None:
        made = self.run("createadmin", *wanted, stdin=f"{password}\n")
        assert made.returncode == 0, made.stderr

    @contextmanager
    def serving(self, **options: Any) -> Iterator[Server]:
        """Run a `Server` of this installation on free ports until the end of the context."""
        server = Server(self, **options)
        try:
            server.start()
            yield server
        finally:
            server.stop(signal.SIGKILL)

    @contextmanager
    def copied(self, directory: Path, postgres: Postgres | None = None) -> Iterator[Installation]:
        """Yield a copy in `directory`, which is made; `postgres` is the server of its database."""
        shutil.copytree(self.directory, directory)
        if postgres is None:
            yield Installation(directory)
            return
        url = postgres.new_database(template=self.database)
        # Without a checkpoint, a crash resets the copy's sequences to the template's.
        postgres.execute("CHECKPOINT")
        yield Installation(directory, database=url)
        postgres.drop_database(url)

    def query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run and commit one SQL statement, with `%s` for values, on either engine."""
        if self.database.startswith("postgresql://"):
            with psycopg.connect(self.database, autocommit=True) as session:
                cursor = session.execute(statement.encode(), values)
                return cursor.fetchall() if cursor.description else []
        with closing(sqlite3.connect(self.file, timeout=30)) as file, file:
            return file.execute(
                statement.replace("%s", "?"), [*map(_for_sqlite, values)]
            ).fetchall()

    def add_user(self, name: str, password: str = P1) -> int:
        """Add a general user to the account. Return its primary key."""
        now = datetime.now(UTC)
        self.query(
            "INSERT INTO console_user (account_id, password, username, display_name, role,"
            " is_active, must_change_password, password_changed_at, session_epoch, created_at)"
            " VALUES (1, %s, %s, '', 'general', TRUE, FALSE, %s, 0, %s)",
            verifier(password),
            name,
            now,
            now,
        )
        [(pk,)] = self.query("SELECT id FROM console_user WHERE username = %s", name)
        return int(pk)


@functools.cache
def _made_once(wanted: tuple[str, ...], password: str) -> Path:
    """Return the data folder of an installation that is made once, as a source of copies."""
    folder = Path(tempfile.mkdtemp(prefix="coconowork-tests-"))
    atexit.register(shutil.rmtree, folder)
    made = Installation(folder / "data")
    made.create_admin(wanted, password)
    return made.directory


def _for_sqlite(value: object) -> object:
    """Return a time as Django stores it in SQLite: a text in UTC."""
    return value.replace(tzinfo=None).isoformat(" ") if isinstance(value, datetime) else value


@dataclass
class Cluster:
    """Two gateways and two consoles on one database."""

    installation: Installation
    gateways: list[Server]
    consoles: list[Server]
