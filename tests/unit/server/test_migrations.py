"""Migrations only add, so nodes of the previous version can use the newer database."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations import operations
from django.db.migrations.loader import MigrationLoader
from django.db.models import NOT_PROVIDED

TAKES_AWAY = (operations.DeleteModel, operations.RemoveField, operations.RenameField)
CANNOT_BE_SEEN = operations.RunSQL
"""Operations whose effect this test cannot see."""


@pytest.mark.usefixtures("database")
def test_migrations_are_complete() -> None:
    """Every change of the models has its migration."""
    call_command("makemigrations", check_changes=True, dry_run=True)


def test_migrations_only_add() -> None:
    """No migration removes a table or column; new columns are optional for older nodes."""
    for (app, name), migration in MigrationLoader(connection).disk_migrations.items():
        if app != "console" or migration.initial:
            continue
        for step in migration.operations:
            assert not isinstance(step, (*TAKES_AWAY, CANNOT_BE_SEEN)), (name, step)
            if isinstance(step, operations.AddField):
                has_default = step.field.null or step.field.db_default is not NOT_PROVIDED
                assert has_default, (name, step.name)
