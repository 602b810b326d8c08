"""Configure the database, check it at the start, and explain what is wrong with it.

SQLite is a file for one server process. PostgreSQL serves any number of processes, and is also the
bus between them (`bus.py`).
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import connection, connections

from server import config, metrics
from server.config import Config, StartError, parse_database_url

if TYPE_CHECKING:
    import psycopg

_T = TypeVar("_T")

SECRET_VARIABLE = "PGPASSWORD"
"""Read by libpq, but also by every user who may see a process's environment."""
OLDEST_SERVER = 14
MAX_CONNECTIONS = 16
"""Most open connections of a process, besides one or two for LISTEN."""
WAIT_SECONDS = 5
"""Longest time to connect, or to wait for a free connection."""
SESSION_OPTIONS = (
    # A little longer than any statement takes, so that each wait ends.
    "-c statement_timeout=15s -c lock_timeout=10s -c idle_in_transaction_session_timeout=30s"
)
MIGRATION_SECONDS = 60
"""Longest wait for another process that migrates the SQLite file."""
_DEFAULTS: dict[str, str] = {
    "application_name": "coconowork",
    "connect_timeout": str(WAIT_SECONDS),
    "options": SESSION_OPTIONS,
    # Notice within half a minute that the server has vanished.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
MIGRATION_LOCK = 7_166_207_100_244
"""The number of the advisory lock for migrations in a PostgreSQL database."""


def parameters(settings: Config) -> dict[str, str]:
    """Return the connection parameters of PostgreSQL: our defaults, overridden by the address."""
    return {**_DEFAULTS, **parse_database_url(settings.database)}


async def connect(first: str, **options: Any) -> psycopg.AsyncConnection[Any]:
    """Connect to PostgreSQL on the event loop, and run statement `first`. Raise psycopg.Error."""
    import psycopg

    found: dict[str, Any] = parameters(config.current())
    opened = await psycopg.AsyncConnection.connect(**found, autocommit=True, **options)
    try:
        await opened.execute(first.encode())
    except BaseException:
        await opened.close()
        raise
    return opened


def django_settings(settings: Config) -> dict[str, Any]:
    """Return Django's `DATABASES["default"]`."""
    if not settings.is_postgresql:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": settings.database_path,
            "OPTIONS": {
                # A transaction takes the write lock when it begins, which avoids deadlocks.
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                # FULL: a change that was confirmed survives a power cut.
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
            },
        }
    options: dict[str, Any] = parameters(settings)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": options.pop("dbname"),
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            **options,
            # Each request has a new thread, so an open connection comes from the pool.
            "pool": {
                "min_size": 1,
                "max_size": MAX_CONNECTIONS,
                "timeout": WAIT_SECONDS,
                # A short limit: later requests then connect at once, without a doubling delay.
                "reconnect_timeout": WAIT_SECONDS,
            },
        },
    }


def check(settings: Config) -> None:
    """Connect to PostgreSQL once. Raise StartError, which says what to do about it."""
    if not settings.is_postgresql:
        return
    if SECRET_VARIABLE in os.environ:
        raise StartError(
            f"{SECRET_VARIABLE} is set, and an environment is no place for a password: write "
            "host:port:name:user:password to a file that only the server reads, name it with "
            f"?passfile=FILE in the address, and unset {SECRET_VARIABLE}"
        )
    import psycopg

    found = parameters(settings)
    try:
        with psycopg.connect(**found) as connection:  # type: ignore[arg-type]  # libpq takes texts
            version = connection.info.server_version // 10_000
    except psycopg.Error as exc:
        raise StartError(explain(exc, settings)) from None
    if version < OLDEST_SERVER:
        raise StartError(f"PostgreSQL {version} is too old; {OLDEST_SERVER} or newer is needed")


def describe(settings: Config) -> str:
    """Return a description of the settings' database, without any secret."""
    if not settings.is_postgresql:
        return f"database {settings.database_path}"
    found = parameters(settings)
    return f"database {found['dbname']} of PostgreSQL on {found.get('host', 'this machine')}"


@contextmanager
def only_server(settings: Config) -> Iterator[None]:
    """Allow one server on an SQLite file: wake-ups reach one process. Raise StartError."""
    if settings.is_postgresql:
        yield
        return
    busy = (
        f"{settings.database_path}: another server runs on this database; stop it first, "
        "or use PostgreSQL for several servers"
    )
    with file_lock(settings.database_path.with_suffix(".lock"), busy=busy):
        yield


@contextmanager
def file_lock(path: Path, *, busy: str, timeout_s: float = 0) -> Iterator[None]:
    """Hold a lock: a write transaction on an SQLite file, which ends with the process.

    The lock works on every file system where SQLite works. Raise StartError, with the text
    `busy` when another process has the lock.
    """
    with ExitStack() as stack:
        try:
            lock = sqlite3.connect(path, timeout=timeout_s, isolation_level=None)
            stack.callback(lock.close)
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as exc:
            is_busy = exc.sqlite_errorcode == sqlite3.SQLITE_BUSY
            raise StartError(busy if is_busy else f"{path}: {exc}") from None
        yield


async def on_thread(work: Callable[[], _T]) -> _T:
    """Return the result of `work` on a thread, and release the thread's database connection."""

    def closing() -> _T:
        try:
            return work()
        finally:
            connection.close()

    return await asyncio.to_thread(closing)


def one_line(exc: BaseException) -> str:
    """Return an error's text in one line."""
    return " ".join(str(exc).split())


def explain(exc: BaseException, settings: Config) -> str:
    """Return the database's message, in the database's language, in one line with a hint."""
    said = one_line(exc)
    if not settings.is_postgresql:
        return f"{settings.database_path}: the database cannot be used: {said}"
    found = parameters(settings)
    name, user = found["dbname"], found.get("user", "the system's user")
    for sign, hint in (
        ("no password supplied", "name a file that holds it with ?passfile=FILE in the address"),
        ("password authentication failed", f"the password of {user} is in the file `passfile`"),
        ("Peer authentication failed", f"run as the system's user {user}, or use a password"),
        ("pg_hba.conf", "the PostgreSQL server does not let this machine or user in"),
        (f'database "{name}" does not exist', f"create it: createdb --owner={user} {name}"),
        ("permission denied for schema", f"let {user} own the database: createdb --owner={user}"),
        (f'role "{user}" does not exist', f"create it: createuser {user}"),
        ("resolve host", "is the host's name right?"),
        ("certificate", "is sslrootcert the authority that signed the server's certificate?"),
        ("Connection refused", "does PostgreSQL run there, and listen on that address?"),
        ("timeout", "does PostgreSQL run there, and is there a firewall between?"),
        ("No such file", "does PostgreSQL run on this machine?"),
    ):
        if sign in said:
            return f"PostgreSQL cannot be used: {said} ({hint})"
    return f"PostgreSQL cannot be used: {said}"


@contextmanager
def one_at_a_time(settings: Config) -> Iterator[None]:
    """Let one of several processes that start at once migrate the database; the others wait.

    On PostgreSQL, a migration may run for any time but not wait long for a lock: a migration that
    cannot lock its table fails, instead of blocking every request behind it.
    """
    if not settings.is_postgresql:
        path = settings.database_path.with_suffix(".migration")
        busy = f"{settings.database_path}: another program migrates it for long; try again"
        with file_lock(path, busy=busy, timeout_s=MIGRATION_SECONDS):
            yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0; SET lock_timeout = 0")
        cursor.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
        cursor.execute("RESET lock_timeout")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [MIGRATION_LOCK])
            cursor.execute("RESET statement_timeout")
        connection.close()


def observe_pool() -> None:
    """Add this process's connections to PostgreSQL to the metrics."""
    if connection.vendor != "postgresql":
        return
    pool = connection.pool  # type: ignore[attr-defined]  # of that engine only

    def number(state: str) -> int:
        now = pool.get_stats()
        free = now["pool_available"]
        states = {"used": now["pool_size"] - free, "free": free, "waiting": now["requests_waiting"]}
        return int(states[state])

    for state in ("used", "free", "waiting"):
        metrics.database_connections.labels(state).set_function(partial(number, state))


def release() -> None:
    """Close this thread's connection and the pool at the end of a program."""
    connections.close_all()
    if connection.vendor == "postgresql":
        connection.close_pool()  # type: ignore[attr-defined]  # of that engine only
