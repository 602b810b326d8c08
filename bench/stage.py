"""Start databases with rows, servers and clients for the server's benches.

The server has one core for itself. Everything else, also PostgreSQL, shares the last core.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Literal

import uvloop

from bench import machine
from bench.bare import Bare
from bench.load import Fleet
from bench.program import Ask, running
from bench.report import Size
from tests.support.installation import PROGRAM, Installation, Server
from tests.support.places import ROOT
from tests.support.postgres import Postgres, running_postgres

Engine = Literal["SQLite", "PostgreSQL"]

_stack = ExitStack()
atexit.register(_stack.close)


@functools.cache
def folder() -> Path:
    """Return a folder that is removed when this process ends."""
    return Path(_stack.enter_context(tempfile.TemporaryDirectory(prefix="coconowork-bench-")))


@functools.cache
def postgres() -> Postgres:
    """Return a running PostgreSQL, durable as in production, on the load's core."""
    with machine.kept_on(machine.LOAD_CORE):
        settings = ["shared_buffers=512MB", "max_wal_size=2GB"]
        return _stack.enter_context(running_postgres(fsync=True, settings=settings))


@functools.cache
def _filled(engine: Engine, users: int, pcs: int) -> Installation:
    """Return a filled installation, from which the benches use copies."""
    database = postgres().new_database() if engine == "PostgreSQL" else ""
    made = Installation(folder() / f"{engine}-{users}", database=database)
    subprocess.run(
        [sys.executable, "-m", "bench.seed", str(users), str(pcs)],
        env=made.environment(),
        cwd=ROOT,
        check=True,
    )
    if database:
        postgres().execute("VACUUM ANALYZE", database=database.rpartition("/")[2])
    return made


@contextmanager
def database(engine: Engine, size: Size) -> Iterator[Installation]:
    """Yield a copy of an installation with a filled database, for this block only."""
    filled = _filled(engine, size.pick(100_000, 600), size.pick(50_000, 500))
    directory = folder() / "copy"
    try:
        with filled.copied(directory, postgres() if filled.database else None) as copy:
            yield copy
    finally:
        shutil.rmtree(directory)


def server(installation: Installation) -> AbstractContextManager[Server]:
    """Run the server as in production, without limits for one address."""
    program = ("taskset", "--cpu-list", str(machine.CORES[machine.SERVER_CORE]), *PROGRAM)
    return installation.serving(program=program, CONNECTIONS_PER_ADDRESS="1000000")


def bare() -> AbstractContextManager[Ask]:
    """Run the bare `websockets` server in its own process."""
    return running(Bare, core=machine.SERVER_CORE)


def clients(port: int, *, count: int) -> AbstractContextManager[Ask]:
    """Run clients of users 1 to `count` in a process; they are not logged in yet."""
    return running(Fleet, port, count, new_loop=uvloop.new_event_loop)
