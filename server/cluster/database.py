"""Which database there is, how it is reached, and how it is brought up to date at the start.

SQLite is a file and good for one process. PostgreSQL takes any number of nodes, and is also the bus
between them (`bus.py`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from server.config import Config

SCHEMES = ("postgresql://", "postgres://")
SECRETS = ("password", "sslpassword")
SECRET_VARIABLE = "PGPASSWORD"
"""Read by libpq itself, and by everybody who may look at a process's environment."""
OLDEST_SERVER = 14
MAX_CONNECTIONS = 16
"""That a process may have open at once, besides one or two for wake-ups."""
WAIT_SECONDS = 5
"""How long connecting, or waiting for a free connection, may take."""
SESSION_OPTIONS = (
    # Somewhat longer than anything takes, so that nothing waits for ever.
    "-c statement_timeout=15s -c lock_timeout=10s -c idle_in_transaction_session_timeout=30s"
)
_DEFAULTS: dict[str, str] = {
    "application_name": "coconowork",
    "connect_timeout": str(WAIT_SECONDS),
    "options": SESSION_OPTIONS,
    # A server that vanished without a word is noticed within half a minute.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
_MIGRATION_LOCK = 7_166_207_100_244
"""Names our lock among others of the same PostgreSQL database."""


class DatabaseProblem(Exception):
    """The database cannot be used; the text says why and what to do about it."""


def parse_url(url: str) -> dict[str, str]:
    """The parameters of a `postgresql://` address, as libpq names them.

    Raise ValueError for one that libpq does not understand, or without a database's name.
    """
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        found = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise ValueError from None  # the original may repeat a password
    parameters = {name: str(value) for name, value in found.items() if value is not None}
    if not parameters.get("dbname"):
        raise ValueError
    return parameters


def parameters(settings: Config) -> dict[str, str]:
    """For a connection to PostgreSQL: what the address says, else our defaults."""
    return {**_DEFAULTS, **parse_url(settings.database)}


def django_settings(settings: Config) -> dict[str, Any]:
    """Django's `DATABASES["default"]`."""
    if not settings.is_postgresql:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": settings.database_path,
            "OPTIONS": {
                # A change takes the write lock when it begins, so two of them cannot deadlock.
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                # FULL: a change that a client was told of survives a power cut.
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
            # Pages are rendered on threads that come and go; connections should not.
            "pool": {
                "min_size": 1,
                "max_size": MAX_CONNECTIONS,
                "timeout": WAIT_SECONDS,
                # Then whoever asks next starts anew, instead of a delay that doubles.
                "reconnect_timeout": WAIT_SECONDS,
            },
        },
    }


def check(settings: Config) -> None:
    """Connect to PostgreSQL once. Raise DatabaseProblem, with what to do about it."""
    if not settings.is_postgresql:
        return
    if SECRET_VARIABLE in os.environ:
        raise DatabaseProblem(
            f"{SECRET_VARIABLE} is set, and an environment is no place for a password: write "
            "host:port:name:user:password to a file that only the server reads, name it with "
            f"?passfile=FILE in the address, and unset {SECRET_VARIABLE}"
        )
    import psycopg

    found = parameters(settings)
    try:
        with psycopg.connect(**found) as connection:  # type: ignore[arg-type]  # libpq's are texts
            version = connection.info.server_version // 10_000
    except psycopg.Error as exc:
        raise DatabaseProblem(explain(exc, settings)) from None
    if version < OLDEST_SERVER:
        raise DatabaseProblem(
            f"PostgreSQL {version} is too old; {OLDEST_SERVER} or newer is needed"
        )


def explain(exc: BaseException, settings: Config) -> str:
    """What the database said, in one line, and what helps. (It may speak another language.)"""
    said = " ".join(str(exc).split())
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
def one_at_a_time() -> Iterator[None]:
    """Of several nodes that start at once, one brings the database up to date; others wait.

    There is no time limit on statements meanwhile, but one on locks: a change of a table that
    cannot have its lock fails, rather than that everybody behind it waits.
    """
    from django.db import connection

    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0; SET lock_timeout = 0")
        cursor.execute("SELECT pg_advisory_lock(%s)", [_MIGRATION_LOCK])
        cursor.execute("RESET lock_timeout")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_MIGRATION_LOCK])
            cursor.execute("RESET statement_timeout")
        connection.close()


def let_go() -> None:
    """Close this thread's connection and the pool, at the end of a program."""
    from django.db import connection, connections

    connections.close_all()
    if connection.vendor == "postgresql":
        connection.close_pool()  # type: ignore[attr-defined]  # of that engine only
