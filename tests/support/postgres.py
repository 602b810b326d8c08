"""A private PostgreSQL for tests and benches, which can be stopped, killed and paused.

PostgreSQL refuses to run as root: then it runs as the user that Debian's package made for it.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

SUPERUSER = "coconowork"
START_S = 60.0
_numbers = itertools.count(1)


class Postgres:
    """One server on a free port of 127.0.0.1 and on a Unix socket in `socket_dir`.

    No role needs a password, except those of `new_role` over TCP.
    """

    def __init__(self, directory: Path, *, fsync: bool = False, settings: Sequence[str] = ()):
        """`directory` is the server's own. `settings`: further `name=value`."""
        self.directory = directory
        self.socket_dir = directory
        self.port = _free_port()
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
        """The process that has started all others of the server."""
        assert self._process is not None
        return self._process.pid

    def create(self) -> None:
        """Make the cluster's files."""
        if self._owner is not None:
            shutil.chown(self.directory, self._owner, self._owner)
        options = ["--auth=trust", f"--username={SUPERUSER}", "--encoding=UTF8", "--locale=C"]
        made = subprocess.run(
            [_program("initdb"), *options, "--no-sync", "-D", str(self._data)],
            user=self._owner,
            group=self._owner,
            extra_groups=[] if self._owner else None,
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stderr
        rules = self._data / "pg_hba.conf"
        rules.write_text("host all +with_password 127.0.0.1/32 scram-sha-256\n" + rules.read_text())

    def start(self) -> None:
        """Return once it takes connections; after a kill that is when it has recovered."""
        assert self._process is None
        settings = [
            *self._settings,
            "listen_addresses=127.0.0.1",
            f"port={self.port}",
            f"unix_socket_directories={self.socket_dir}",
        ]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [_program("postgres"), "-D", str(self._data), *(f"--{each}" for each in settings)],
                user=self._owner,
                group=self._owner,
                extra_groups=[] if self._owner else None,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + START_S
        while True:
            try:
                self.execute("SELECT 1")
            except psycopg.OperationalError:
                assert self._process.poll() is None, self.log()
                assert time.monotonic() < end, self.log()
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """Shut down at once but cleanly: sessions are cut, nothing has to be recovered."""
        if self._process is not None:
            self.resume()
            self._process.send_signal(signal.SIGINT)
            self._process.wait(timeout=60)
            self._process = None

    def kill(self) -> None:
        """SIGKILL to all of its processes, as a power cut would be."""
        assert self._process is not None
        for each in self._processes():
            with suppress(psutil.NoSuchProcess):
                each.kill()
        self._process.wait()
        self._process = None

    def pause(self) -> None:
        """SIGSTOP to all of its processes: connections stay open and nothing answers."""
        for each in self._processes():
            with suppress(psutil.NoSuchProcess):
                each.suspend()

    def resume(self) -> None:
        """Let it go on after `pause`."""
        for each in self._processes():
            with suppress(psutil.NoSuchProcess):
                each.resume()

    def execute(self, statement: str, *, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement as the superuser, in a session of its own."""
        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=5) as session:
            cursor = session.execute(sql.SQL(statement))
            return cursor.fetchall() if cursor.description else []

    def new_database(self, *, template: str = "template1") -> str:
        """Make a database. Return its address for the setting `database`.

        `template` is the name of a database to copy, which must have no sessions.
        """
        name = f"test{os.getpid()}_{next(_numbers)}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Cut its sessions and remove it."""
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

    def _processes(self) -> list[psutil.Process]:
        if self._process is None:
            return []
        server = psutil.Process(self._process.pid)
        return [server, *server.children(recursive=True)]


@contextmanager
def running_postgres(*, fsync: bool = False, settings: Sequence[str] = ()) -> Iterator[Postgres]:
    """Run a server with files of its own until the end of the context."""
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
    """Debian keeps the server's programs out of PATH, by version."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    program = str(found[-1]) if found else shutil.which(name)
    assert program, f"{name} is missing: .ci/packages test"
    return program


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
