"""Migrations only add, so that nodes of the version before go on with the newer database."""

from __future__ import annotations

from django.db import connection
from django.db.migrations import operations
from django.db.migrations.loader import MigrationLoader
from django.db.models import NOT_PROVIDED

TAKES_AWAY = (operations.DeleteModel, operations.RemoveField, operations.RenameField)
CANNOT_BE_SEEN = operations.RunSQL
"""What it does is not known here."""


def test_migrations_only_add() -> None:
    """No table or column goes, and an older node can insert rows without a column that is new."""
    loader = MigrationLoader(connection)
    steps = [
        (name, step)
        for (app, name), migration in loader.disk_migrations.items()
        if app == "console"
        for step in migration.operations
    ]
    added = [(name, step) for name, step in steps if isinstance(step, operations.AddField)]
    assert added
    for name, step in steps:
        assert not isinstance(step, (*TAKES_AWAY, CANNOT_BE_SEEN)), (name, step)
    for name, step in added:
        has_default = step.field.null or step.field.db_default is not NOT_PROVIDED
        assert has_default, (name, step.name)
