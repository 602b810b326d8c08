"""An installation of the server to test its faults: real processes on a database of their own."""

from __future__ import annotations

import functools
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from server.console.hashers import ITERATIONS, format_verifier, hash_password

_T = TypeVar("_T")
ADMIN, ADMIN_PASSWORD = "admin", "Adm1n-Adm1n"
P1, P2, P3 = "Passw0rd!", "Second-2nd", "Third+3rd"
SALT = b"a salt for tests"
STOP_S = 30
PROGRAM = (sys.executable, "-m", "server")


@functools.cache
def verifier(password: str) -> str:
    """As the database keeps it."""
    return format_verifier(hash_password(password, salt=SALT, iterations=ITERATIONS))


@dataclass
class Server:
    """A running `serve` and where it listens."""

    process: subprocess.Popen[str]
    log: Path
    output: list[str] = field(default_factory=list)

    def port(self, what: str) -> int:
        """Of the `console` or the `gateway`."""
        [found] = re.findall(rf"^{what} .*:(\d+)/", "".join(self.output), re.MULTILINE)
        return int(found)

    @property
    def console(self) -> str:
        return f"http://127.0.0.1:{self.port('console')}"

    @property
    def gateway(self) -> int:
        return self.port("gateway")

    def logged(self) -> str:
        """What it has written to standard error."""
        return self.log.read_text()


class House:
    """One installation: settings, a database, and the processes on it."""

    def __init__(self, directory: Path, *, database: str = "") -> None:
        """`database` is the setting of that name; empty is an SQLite file in `directory`."""
        self.directory = directory
        self.database = database

    @property
    def file(self) -> Path:
        """The SQLite database."""
        return self.directory / "coconowork.sqlite3"

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        settings = {"DATA_DIR": str(self.directory), "DATABASE": self.database, "LANGUAGE": "en"}
        named = {f"COCONOWORK_SERVER_{key}": value for key, value in (settings | more).items()}
        return {**kept, **named, "LC_ALL": "C.UTF-8"}

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """One command to its end."""
        return subprocess.run(
            [*PROGRAM, *arguments],
            env=self.environment(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def django(self, *arguments: str) -> None:
        """One of Django's own commands."""
        done = subprocess.run(
            [sys.executable, "-m", "django", *arguments, "--settings=server.settings"],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def create(self) -> None:
        """Make the database with an account and its administrator."""
        arguments = ("createadmin", "--account=ACME", f"--user={ADMIN}")
        made = self.run(*arguments, stdin=ADMIN_PASSWORD + "\n")
        assert made.returncode == 0, made.stderr

    @contextmanager
    def serving(
        self, *, program: Sequence[str] = PROGRAM, own_group: bool = False, **settings: str
    ) -> Iterator[Server]:
        """`serve` on free ports, until the end of the context or of itself."""
        log = self.directory / "log"
        with log.open("a") as stderr:
            process = subprocess.Popen(
                [*program, "serve", "--port=0", "--gateway-port=0"],
                env=self.environment(**settings),
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=own_group,
            )
        server = Server(process, log)
        last = "console " if settings.get("ROLE") == "console" else "gateway "
        assert process.stdout is not None
        try:
            for line in process.stdout:
                server.output.append(line)
                if line.startswith(last):
                    break
            assert server.output, log.read_text()
            yield server
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """One SQL statement, with `%s` for values, on either engine; committed."""
        if self.database.startswith("postgresql://"):
            with psycopg.connect(self.database, autocommit=True) as session:
                cursor = session.execute(statement.encode(), values)
                return cursor.fetchall() if cursor.description else []
        with closing(sqlite3.connect(self.file, timeout=30)) as file, file:
            return file.execute(
                statement.replace("%s", "?"), [*map(_for_sqlite, values)]
            ).fetchall()

    def add_user(self, name: str, password: str = P1) -> int:
        """A general user of the account; the primary key."""
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


def _for_sqlite(value: object) -> object:
    """Django keeps times there as texts in UTC."""
    return value.replace(tzinfo=None).isoformat(" ") if isinstance(value, datetime) else value


def eventually(check: Callable[[], _T | None], *, within_s: float = 20.0) -> _T:
    """Ask until there is an answer; for what another process does and nobody announces."""
    end = time.monotonic() + within_s
    while not (answer := check()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)
    return answer
