"""Check the database: whether it can be reached, its migrations, and its clock."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from server import config
from server.cluster import database
from server.config import Config, StartError
from server.doctor.step import Facts, Step

Migration = tuple[str, str]
"""Application and name."""
Query = Callable[[str], Sequence[Sequence[Any]]]
BUSY_SHARE = 0.8
"""Share of PostgreSQL's `max_connections` above which there is a warning."""


def examine(step: Step, facts: Facts) -> None:
    """Connect, and compare the database with this version of the program."""
    settings = facts.settings
    step.note(database.describe(settings))
    if settings.is_postgresql:
        _postgresql(step, facts)
        return
    path = settings.database_path
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        step.warn("there is no database yet", "the first start of the server makes it")
        return
    except OSError as exc:
        step.fail(f"{path}: {exc.strerror}", "run this as the server's user")
    step.note(f"SQLite {sqlite3.sqlite_version}, {size / 1024**2:,.1f} MiB")
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10)) as opened:
            [(state,), *_] = opened.execute("PRAGMA quick_check(1)").fetchall()
            if state != "ok":
                step.fault(f"the file is damaged: {state}", "restore a backup (docs/backup.md)")
            _compare_migrations(step, settings, lambda text: opened.execute(text).fetchall())
    except sqlite3.Error as exc:
        remedy = "is it a database of this server, which this user may read? Else restore a backup"
        step.fault(database.explain(exc, settings), remedy)


def _postgresql(step: Step, facts: Facts) -> None:
    import psycopg

    settings = facts.settings
    parameters: dict[str, Any] = database.parameters(settings)
    try:
        database.check(settings)
        with psycopg.connect(**parameters, autocommit=True) as opened:

            def query(text: str) -> Sequence[Sequence[Any]]:
                return opened.execute(text.encode()).fetchall()

            before = time.time()
            [(theirs,)] = query("SELECT extract(epoch FROM clock_timestamp())::float8")
            facts.clocks["the database"] = theirs - (before + time.time()) / 2
            [(standby, most, used)] = query(
                "SELECT pg_is_in_recovery(), current_setting('max_connections')::int,"
                " (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')"
            )
            version = opened.info.parameter_status("server_version")
            step.note(f"PostgreSQL {version}, {used} of {most} connections are in use")
            if standby:
                step.fault("this is a standby, which takes no changes", "name the primary, too")
            if used > most * BUSY_SHARE:
                step.warn("nearly all connections are in use", "raise max_connections")
            is_local = opened.info.host.startswith("/") or config.is_loopback(opened.info.host)
            if not is_local and not opened.pgconn.ssl_in_use:
                step.warn(
                    "the connection to PostgreSQL is not encrypted",
                    "add sslmode=verify-full and sslrootcert to the address",
                )
            if _compare_migrations(step, settings, query):
                from server.console.models import DEAD_AFTER  # needs Django, which is set up now

                names = query(_ALIVE.format(DEAD_AFTER.total_seconds()))
                step.note(f"gateways: {', '.join(name for (name,) in names) or 'none'}")
    except StartError as exc:
        step.fault(str(exc), "waiting PCs stay connected until it is back; see docs/operations.md")
    except psycopg.Error as exc:
        step.fault(database.explain(exc, settings), "see PostgreSQL's log")


def _compare_migrations(step: Step, settings: Config, query: Query) -> bool:
    """Report pending and unknown migrations; return whether none is pending."""
    there = {name for (name,) in query(_TABLES[settings.is_postgresql])}
    if "django_migrations" not in there:
        step.warn("the database has no tables yet", "the first start of the server makes them")
        return False
    applied = {(app, name) for app, name in query("SELECT app, name FROM django_migrations")}
    ours = _migrations(settings)
    if missing := sorted(".".join(each) for each in ours - applied):
        step.fault(
            f"{len(missing)} migrations are pending: {', '.join(missing)}",
            "back up, then: coconowork-server migrate",
        )
    if unknown := sorted(".".join(each) for each in applied - ours):
        step.warn(
            f"the database is of a newer version, which has also {', '.join(unknown)}",
            "right while several nodes are upgraded; else install that version here",
        )
    if not missing:
        step.note(f"all {len(ours)} migrations are applied")
    return not missing


_ALIVE = "SELECT name FROM console_gateway WHERE seen_at > now() - interval '{} s' ORDER BY name"
_TABLES = {
    False: "SELECT name FROM sqlite_master WHERE type = 'table'",
    True: "SELECT tablename FROM pg_tables WHERE schemaname = ANY (current_schemas(false))",
}


def _migrations(settings: Config) -> set[Migration]:
    """Return the migrations of this version of the program."""
    import django
    from django.db.migrations.loader import MigrationLoader

    with TemporaryDirectory() as folder:  # so that the real secret key is neither made nor needed
        config.use(replace(settings, secret_key_file=Path(folder) / "secret_key"))
        django.setup()
    return set(MigrationLoader(None).disk_migrations)
