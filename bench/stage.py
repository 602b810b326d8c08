"""Start what the benches of the server run against: filled databases, servers and clients.

The server has one core for itself. Everything else, PostgreSQL too, shares the last core.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Literal

from bench import machine
from bench.program import Program, running
from bench.report import Size
from tests.support.places import ROOT
from tests.support.postgres import Postgres, running_postgres

Engine = Literal["SQLite", "PostgreSQL"]

_stack = ExitStack()
atexit.register(_stack.close)


@functools.cache
def folder() -> Path:
    """Return a folder that is removed with this process."""
    path = Path(tempfile.mkdtemp(prefix="coconowork-bench-"))
    _stack.callback(shutil.rmtree, path, ignore_errors=True)
    return path


def _log_file() -> Path:
    return folder() / "log"


def log() -> str:
    """Return the end of what the programs wrote to standard error."""
    _log_file().touch()
    return _log_file().read_text(errors="replace")[-3000:]


@functools.cache
def postgres() -> Postgres:
    """Return a running PostgreSQL, durable as in production, on the processor core of the load."""
    with machine.kept_on(machine.LOAD_CORE):
        settings = ["shared_buffers=512MB", "max_wal_size=2GB"]
        return _stack.enter_context(running_postgres(fsync=True, settings=settings))


@functools.cache
def _filled(engine: Engine, users: int, pcs: int) -> Path | str:
    """Return the SQLite file, or the PostgreSQL database's name, that others are copies of."""
    home = Path(tempfile.mkdtemp(dir=folder()))
    settings = {"DATA_DIR": str(home)}
    if engine == "PostgreSQL":
        settings["DATABASE"] = postgres().new_database()
    subprocess.run(
        [sys.executable, "-m", "bench.seed", str(users), str(pcs)],
        env=environment(settings),
        cwd=ROOT,
        check=True,
    )
    if engine == "SQLite":
        return home / "coconowork.sqlite3"
    name = settings["DATABASE"].rpartition("/")[2]
    postgres().execute("VACUUM ANALYZE", database=name)
    return name


@contextmanager
def database(engine: Engine, size: Size) -> Iterator[dict[str, str]]:
    """Yield the settings that lead a server to a filled database that only this block uses."""
    filled = _filled(engine, size.pick(100_000, 600), size.pick(50_000, 500))
    home = Path(tempfile.mkdtemp(dir=folder()))
    settings = {"DATA_DIR": str(home)}
    try:
        if isinstance(filled, Path):
            shutil.copy(filled, home)
            yield settings
        else:
            url = postgres().new_database(template=filled)
            yield {**settings, "DATABASE": url}
            postgres().drop_database(url)
    finally:
        shutil.rmtree(home)


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a server program: these settings and none of the developer's."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("COCONOWORK_")}
    return {**clean, **{f"COCONOWORK_SERVER_{k}": v for k, v in settings.items()}}


def server(settings: Mapping[str, str]) -> AbstractContextManager[Program]:
    """Run the server as in production, without limits for one address."""
    ports = {"PORT": "0", "GATEWAY_PORT": "0", "CONNECTIONS_PER_ADDRESS": "1000000"}
    environ = environment({**settings, **ports})
    return running("server", "serve", environ=environ, core=machine.SERVER_CORE, log=_log_file())


def changer(settings: Mapping[str, str]) -> AbstractContextManager[Program]:
    """Run the console of `bench.gateway_push` on this database."""
    return running("bench.gateway_push", environ=environment(settings), log=_log_file())


def bare() -> AbstractContextManager[Program]:
    """Run the baseline, `bench.bare`."""
    return running("bench.bare", core=machine.SERVER_CORE, log=_log_file())


def clients(port: int, *, count: int) -> AbstractContextManager[Program]:
    """Run `bench.load` with a client for each user from 1 to `count`; none is logged in yet."""
    return running("bench.load", str(port), str(count), log=_log_file())
