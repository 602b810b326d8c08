"""`migrate`: bring the database up to date, as the first `serve` of a new version would.

The Debian package runs this command when it is upgraded. An SQLite file is copied first, because
migrations cannot be undone.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

import django
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from server import config
from server.cluster import database
from server.commands.backup import copy, draft_beside
from server.commands.serve import prepare
from server.config import StartError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no arguments; the settings name the database."""


def run(_arguments: argparse.Namespace) -> None:
    """Migrate the database, and print where the copy is. Raise StartError."""
    settings = config.load()
    print(database.describe(settings), flush=True)
    try:
        if not settings.is_postgresql and settings.database_path.exists():
            _keep_old(settings)
        prepare(settings)
    finally:
        database.release()


def _keep_old(settings: config.Config) -> None:
    """Copy the SQLite file if a migration is going to change it. Raise StartError."""
    config.use(settings)
    django.setup()
    try:
        executor = MigrationExecutor(connection)
        if not executor.migration_plan(executor.loader.graph.leaf_nodes()):
            return
    except DatabaseError as exc:
        raise StartError(database.explain(exc, settings)) from None
    path: Path = settings.database_path
    kept = path.with_name(f"{path.name}.{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    with draft_beside(kept) as draft:
        copy(path, draft)
        draft.rename(kept)
    print(f"{kept}: the database before the migration")
