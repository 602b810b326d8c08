"""What the benches of the server run against: filled databases, servers, and proxies.

A server has a core for itself; everything else, the databases too, shares the last one.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from bench import machine, report
from bench.heart import PREFIX
from tests.support.places import ROOT
from tests.support.postgres import Postgres, running_postgres

Engine = Literal["SQLite", "PostgreSQL"]

_stack = ExitStack()
atexit.register(_stack.close)


@dataclass(frozen=True)
class People:
    """How many there are in a database."""

    users: int
    devices: int
    crowd: int
    """PCs of one user."""

    @classmethod
    def of(cls, size: report.Size) -> People:
        return cls(size.pick(100_000, 600), size.pick(50_000, 500), size.pick(1_000, 20))


@dataclass(frozen=True)
class Database:
    """Settings that lead a server to a database of its own."""

    engine: Engine
    settings: dict[str, str]


@functools.cache
def folder() -> Path:
    """Gone with the process."""
    path = Path(tempfile.mkdtemp(prefix="coconowork-bench-"))
    _stack.callback(shutil.rmtree, path, ignore_errors=True)
    return path


@functools.cache
def postgres() -> Postgres:
    """Durable, as in production, and on the load's core."""
    with machine.kept_on(machine.LOAD_CORE):
        settings = ["shared_buffers=512MB", "max_wal_size=2GB"]
        return _stack.enter_context(running_postgres(fsync=True, settings=settings))


@functools.cache
def _filled(engine: Engine, people: People) -> Path | str:
    """The SQLite file, or the name of the PostgreSQL database, that all others are copies of."""
    home = folder() / f"filled-{engine}"
    home.mkdir()
    settings = {"DATA_DIR": str(home)}
    if engine == "PostgreSQL":
        settings["DATABASE"] = postgres().new_database()
    numbers = [str(people.users), str(people.devices), str(people.crowd)]
    subprocess.run(
        [sys.executable, "-m", "bench.seed", *numbers],
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
def database(engine: Engine, size: report.Size) -> Iterator[Database]:
    """A filled one; what is done to it is done to nobody else's."""
    filled = _filled(engine, People.of(size))
    home = Path(tempfile.mkdtemp(dir=folder()))
    settings = {"DATA_DIR": str(home)}
    try:
        if isinstance(filled, Path):
            shutil.copy(filled, home)
            yield Database(engine, settings)
        else:
            url = postgres().new_database(template=filled)
            yield Database(engine, {**settings, "DATABASE": url})
            postgres().drop_database(url)
    finally:
        shutil.rmtree(home)


def log_tail() -> str:
    """The last that the programs have said."""
    log = folder() / "log"
    return log.read_text(errors="replace")[-3000:] if log.exists() else ""


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """For a server program: nothing of the developer's, and these settings."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("COCONOWORK_")}
    return {**clean, **{f"COCONOWORK_SERVER_{k}": v for k, v in settings.items()}}


class Program:
    """A server program that is running, and takes commands (`heart.obey`)."""

    def __init__(self, arguments: list[str], *, settings: Mapping[str, str], core: int) -> None:
        log = (folder() / "log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env=environment(settings),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            preexec_fn=machine.pinned(core),  # noqa: PLW1509 - this process has one thread
        )
        log.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def line(self, beginning: str) -> str:
        """The rest of the next line on its output that begins so."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(beginning):
                return line.removeprefix(beginning).strip()
        raise RuntimeError(f"the program ended before it said {beginning!r}")

    def port(self, kind: str = "gateway") -> int:
        """Where it says that its `gateway` or `console` is."""
        return urlsplit(self.line(kind + "  ")).port or 0

    def ask(self, do: str, **arguments: object) -> Any:
        """Send a command and wait for its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        return json.loads(self.line(PREFIX))

    def stop(self) -> None:
        """Ask it to stop; it goes on for a while."""
        self._process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        """At the latest now it is gone."""
        self._process.terminate()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()


@contextmanager
def running(
    *arguments: str, settings: Mapping[str, str] | None = None, core: int = machine.SERVER_CORE
) -> Iterator[Program]:
    """`python -m ARGUMENTS`, until the end of the block."""
    program = Program(list(arguments), settings=settings or {}, core=core)
    try:
        yield program
    finally:
        program.end()


@contextmanager
def server(
    database: Database,
    *,
    tls: bool = False,
    watched: bool = False,
    core: int = machine.SERVER_CORE,
    **settings: str,
) -> Iterator[Program]:
    """The server on this database, as it is started in production, without limits by address."""
    wanted = {
        **database.settings,
        "PORT": "0",
        "GATEWAY_PORT": "0",
        "CONNECTIONS_PER_ADDRESS": "1000000",
        **settings,
    }
    if tls:
        wanted |= {"TLS_CERT": str(certificate()), "TLS_KEY": str(certificate())}
    module = "bench.node" if watched else "server"
    with running(module, "serve", settings=wanted, core=core) as program:
        yield program


@functools.cache
def certificate() -> Path:
    """A file with a certificate for 127.0.0.1 and its key (P-256)."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    from tests.support.gateway import make_certificate

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    made = make_certificate("127.0.0.1", key, name, key, (-1, 30))
    file = folder() / "certificate.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + made.public_bytes(Encoding.PEM))
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(file)
    return file
