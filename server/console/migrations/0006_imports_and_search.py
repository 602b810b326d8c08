"""Add imports that run in the background, and what a search of users reads."""

from typing import Any, ClassVar

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import server.clock
import server.console.search

_key = models.BigAutoField(primary_key=True, serialize=False, auto_created=True, verbose_name="ID")


def fill(apps: Any, _schema: object) -> None:
    """Set `search` of the users that there are."""
    users = apps.get_model("console", "User").objects
    last = 0
    while batch := list(users.filter(pk__gt=last).order_by("pk")[:1000]):
        for user in batch:
            user.search = server.console.search.text_of(user)
        users.bulk_update(batch, ["search"], batch_size=200)
        last = batch[-1].pk


class Migration(migrations.Migration):
    """Create two tables, and one column of users with its index."""

    dependencies: ClassVar = [("console", "0005_start_page")]

    operations: ClassVar = [
        migrations.AddField(
            model_name="user",
            name="search",
            field=server.console.search.SearchField(db_default="", editable=False, max_length=300),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.RemoveIndex(model_name="user", name="users_by_name"),
        migrations.AddIndex(
            model_name="user",
            index=models.Index(fields=["account", "username", "search"], name="users_by_name"),
        ),
        migrations.CreateModel(
            name="ImportJob",
            fields=[
                ("id", _key),
                ("started_at", models.DateTimeField(default=server.clock.now)),
                ("address", models.GenericIPAddressField(null=True)),
                ("language", models.CharField(max_length=8)),
                ("public_key", models.CharField(max_length=44)),
                ("worker", models.CharField(blank=True, max_length=16)),
                ("leased_until", models.DateTimeField()),
                ("finished_at", models.DateTimeField(null=True)),
                ("fetched_at", models.DateTimeField(null=True)),
                (
                    "started_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        fields=["leased_until"],
                        name="unfinished_imports",
                        condition=models.Q(finished_at__isnull=True),
                    )
                ]
            },
        ),
        migrations.CreateModel(
            name="ImportLine",
            fields=[
                ("id", _key.clone()),
                ("number", models.PositiveIntegerField()),
                ("username", models.CharField(max_length=80)),
                ("display_name", models.CharField(blank=True, max_length=150)),
                ("role", models.CharField(blank=True, max_length=16)),
                ("done", models.BooleanField(default=False)),
                ("error", models.TextField(blank=True)),
                ("sealed", models.BinaryField(null=True)),
                (
                    "job",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="lines",
                        to="console.importjob",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["job", "done", "number"], name="lines_of_import")]
            },
        ),
    ]
