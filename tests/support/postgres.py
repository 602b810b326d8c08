"""A private PostgreSQL for tests and benches, which can be stopped, killed and paused.

PostgreSQL refuses to run as root; for root it runs as the user of Debian's package.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from tests.support.polling import eventually
from tests.support.ports import free_port

SUPERUSER = "coconowork"
START_S = 60.0
_numbers = itertools.count(1)


class Postgres:
    """A PostgreSQL on a free port of 127.0.0.1 and on a Unix socket in `socket_dir`.

    No role needs a password, except those of `new_role` over TCP.
    """

    def __init__(self, directory: Path, *, fsync: bool = False, settings: Sequence[str] = ()):
        """Set up paths; `directory` is for this server only. `settings`: further `name=value`."""
        self.directory = directory
        self.socket_dir = directory
        self.port = free_port()
        self._data = directory / "data"
        self._owner = "postgres" if os.geteuid() == 0 else None
        self._settings = [
            f"fsync={'on' if fsync else 'off'}",
            f"synchronous_commit={'on' if fsync else 'off'}",
            f"full_page_writes={'on' if fsync else 'off'}",
            "max_connections=200",
            "shared_buffers=64MB",
            *settings,
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Return the process id of the postmaster."""
        assert self._process is not None
        return self._process.pid

    def create(self) -> None:
        """Make the cluster's files."""
        if self._owner is not None:
            shutil.chown(self.directory, self._owner, self._owner)
        options = ["--auth=trust", f"--username={SUPERUSER}", "--encoding=UTF8", "--locale=C"]
        assert self._run("initdb", *options, "--no-sync").wait() == 0, self.log()
        rules = self._data / "pg_hba.conf"
        rules.write_text("host all +with_password 127.0.0.1/32 scram-sha-256\n" + rules.read_text())

    def start(self) -> None:
        """Start the server. Return once it accepts connections, after a kill also recovered."""
        assert self._process is None
        settings = [
            *self._settings,
            "listen_addresses=127.0.0.1",
            f"port={self.port}",
            f"unix_socket_directories={self.socket_dir}",
        ]
        process = self._process = self._run("postgres", *(f"--{each}" for each in settings))

        def answers() -> bool:
            assert process.poll() is None, self.log()
            with suppress(psycopg.OperationalError):
                self.execute("SELECT 1")
                return True
            return False

        eventually(answers, within_s=START_S, or_say=self.log)

    def _run(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        """Start a PostgreSQL program on this server's data, as the user that PostgreSQL needs."""
        with (self.directory / "log").open("ab") as log:
            return subprocess.Popen(
                [_program(name), "-D", str(self._data), *options],
                user=self._owner,
                group=self._owner,
                extra_groups=[] if self._owner else None,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self) -> None:
        """Shut down at once but cleanly: sessions are cut, and no recovery is needed."""
        if self._process is not None:
            self.resume()
            self._process.send_signal(signal.SIGINT)
            self._process.wait(timeout=60)
            self._process = None

    def kill(self) -> None:
        """Kill all processes of the server, as a power cut does."""
        assert self._process is not None
        self._each(psutil.Process.kill)
        self._process.wait()
        self._process = None

    def pause(self) -> None:
        """Stop all processes (SIGSTOP): connections stay open without answers."""
        self._each(psutil.Process.suspend)

    def resume(self) -> None:
        """Continue all processes after `pause`."""
        self._each(psutil.Process.resume)

    def _each(self, action: Callable[[psutil.Process], None]) -> None:
        if self._process is not None:
            server = psutil.Process(self._process.pid)
            for process in [server, *server.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    action(process)

    def execute(self, statement: str, *, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement as the superuser, in a separate session. Return its rows."""
        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=5) as session:
            cursor = session.execute(sql.SQL(statement))
            return cursor.fetchall() if cursor.description else []

    def new_database(self, *, template: str = "template1") -> str:
        """Make a database. Return its address for the setting `database`.

        `template` is the address of a database to copy, which must have no sessions.
        """
        name = f"test{os.getpid()}_{next(_numbers)}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template.rpartition("/")[2]}"')
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """End the sessions of a database, and drop the database."""
        self.execute(f'DROP DATABASE "{url.rpartition("/")[2]}" WITH (FORCE)')

    def new_role(self, password: str) -> str:
        """Make a role that needs `password` over TCP. Return its name."""
        name = f"role{next(_numbers)}"
        exists = "SELECT FROM pg_roles WHERE rolname = 'with_password'"
        self.execute(
            f"DO $$BEGIN IF NOT EXISTS ({exists}) THEN CREATE ROLE with_password; END IF;END$$"
        )
        self.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}' IN ROLE with_password")
        return name

    def url(self, database: str, *, user: str = SUPERUSER) -> str:
        """Return the address of a database over TCP."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def log(self) -> str:
        """Return the server's log."""
        return (self.directory / "log").read_text(errors="replace")


@contextmanager
def running_postgres(*, fsync: bool = False, settings: Sequence[str] = ()) -> Iterator[Postgres]:
    """Run a server on temporary files until the end of the context."""
    directory = Path(tempfile.mkdtemp(prefix="coconowork-pg-"))
    server = Postgres(directory, fsync=fsync, settings=settings)
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


def _program(name: str) -> str:
    """Return a program's path: Debian has each version in a folder outside PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    program = str(found[-1]) if found else shutil.which(name)
    assert program, f"{name} is missing: .ci/packages test"
    return program
