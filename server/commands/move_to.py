"""`move-to`: move an SQLite installation to an empty PostgreSQL database.

One transaction makes the tables in PostgreSQL, copies all rows, and compares the rows of both
databases, read through the models. So an interruption leaves the target empty, and the command can
be repeated. The SQLite file is not changed, except that it is migrated first.
"""

# ruff: noqa: SLF001 - Django documents `_meta` and `_base_manager`
from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core.management import call_command
from django.core.management.color import no_style
from django.db import DatabaseError, connection, connections, transaction

from server import config
from server.cluster import database
from server.commands.serve import prepare
from server.config import StartError

if TYPE_CHECKING:
    from django.db.models import Model

TARGET = "target"
"""The target's name among Django's databases."""
BATCH = 1_000
"""Rows that are compared at once."""
_MADE_BY_MIGRATE = {"auth", "contenttypes"}
"""Applications whose rows `migrate` makes; nothing of this server refers to them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the argument; the settings name the SQLite file."""
    parser.add_argument(
        "address",
        metavar="postgresql://USER@HOST/NAME",
        help="an empty database; its password is in a file, ?passfile=FILE",
    )


def run(arguments: argparse.Namespace) -> None:
    """Move the database, and print what was moved and what to do next. Raise StartError."""
    source, target = config.load(), config.load(database=arguments.address)
    if source.is_postgresql or not target.is_postgresql:
        raise StartError("this moves from an SQLite file to an address postgresql://user@host/name")
    if not source.database_path.is_file():
        raise StartError(f"{source.database_path}: there is no such file")
    database.check(target)
    with database.only_server(source):
        prepare(source)
        _move(target)
    print(f"moved from {source.database_path}, which stays as it was")
    print("Next: let the setting `database` name the new one, and start the server.")
    if source.secret_key_path != target.secret_key_path:
        print(f"Set secret_key_file to {source.secret_key_path}, or all sessions end.")


def _move(target: config.Config) -> None:
    connections.databases[TARGET] = {
        **connections.databases["default"],
        **database.django_settings(target),
    }
    there = connections[TARGET]
    try:
        with (
            there.wrap_database_errors,
            transaction.atomic(using=TARGET),
            there.cursor() as cursor,
        ):
            cursor.execute(
                "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0;"
                " SET LOCAL idle_in_transaction_session_timeout = 0"
            )
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [database.MIGRATION_LOCK])
            if there.introspection.table_names(cursor):
                raise StartError(f"{database.describe(target)} is not empty; make a new one")
            call_command("migrate", database=TARGET, verbosity=0, interactive=False)
            models = [
                model
                for model in apps.get_models()
                if model._meta.app_label not in _MADE_BY_MIGRATE
            ]
            for model in models:
                _copy(model, cursor)
            for statement in there.ops.sequence_reset_sql(no_style(), models):
                cursor.execute(statement)
            counts = [(_compare(model), model) for model in models]
    except DatabaseError as exc:
        raise StartError(database.explain(exc, target)) from None
    finally:
        there.close()
        there.close_pool()  # type: ignore[attr-defined]  # of that engine only
    for count, model in counts:
        print(f"{count:>9,}  {model._meta.db_table}")
    print(f"to {database.describe(target)}; each row was read back and is the same")


def _copy(model: type[Model], target: Any) -> None:
    """Copy a table from SQLite; PostgreSQL parses the text of each value."""
    columns = ", ".join(f'"{field.column}"' for field in model._meta.local_concrete_fields)
    table = f'"{model._meta.db_table}"'
    with connection.cursor() as rows, target.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
        for row in rows.execute(f"SELECT {columns} FROM {table}"):  # noqa: S608 - names of models
            copy.write_row(row)


def _compare(model: type[Model]) -> int:
    """Return a table's number of rows. Raise StartError when the two databases differ."""
    names = [field.attname for field in model._meta.local_concrete_fields]
    here, there = (model._base_manager.using(alias) for alias in ("default", TARGET))
    count = here.count()
    same = there.count() == count
    for batch in _batches(here.values_list("pk", *names).iterator()):
        keys = [row[0] for row in batch]
        found = {row[0]: row for row in there.filter(pk__in=keys).values_list("pk", *names)}
        same = same and all(found.get(row[0]) == row for row in batch)
    if not same:
        raise StartError(f"{model._meta.db_table} is not the same there; nothing was moved")
    return count


def _batches(rows: Iterator[Any]) -> Iterator[list[Any]]:
    while batch := list(islice(rows, BATCH)):
        yield batch
