# Written by hand from what Django had generated in three steps.

from typing import Any

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models import Q

import server.clock
import server.console.search


def fill(apps: Any, _schema: object) -> None:
    """Set `search` of the users that there are."""
    users = apps.get_model('console', 'User').objects
    last = 0
    while batch := list(users.filter(pk__gt=last).order_by('pk')[:1000]):
        for user in batch:
            user.search = server.console.search.text_of(user)
        users.bulk_update(batch, ['search'], batch_size=200)
        last = batch[-1].pk


class Migration(migrations.Migration):

    replaces = [
        ('console', '0004_form_results'),
        ('console', '0005_start_page'),
        ('console', '0006_imports_and_search'),
    ]

    dependencies = [
        ('console', '0003_pages_of_large_accounts'),
    ]

    operations = [
        # The push is named after its concept; its table keeps its name.
        migrations.AlterModelTable(name='pendingchange', table='console_pendingchange'),
        migrations.RenameModel(old_name='PendingChange', new_name='PushDelivery'),
        migrations.CreateModel(
            name='FormResult',
            fields=[
                ('digest', models.CharField(max_length=64, primary_key=True, serialize=False)),
                ('at', models.DateTimeField(auto_now_add=True)),
                ('sealed', models.BinaryField(null=True)),
            ],
        ),
        migrations.AddIndex(
            model_name='device',
            index=models.Index(condition=Q(blocked_at__isnull=True, waiting_since__isnull=True), fields=['last_seen_at', 'id', 'user', 'waiting_since', 'blocked_at'], name='devices_not_waiting'),
        ),
        migrations.AddIndex(
            model_name='pushdelivery',
            index=models.Index(fields=['failure', 'outcome', 'device'], name='failed_deliveries'),
        ),
        migrations.AddField(
            model_name='user',
            name='search',
            field=server.console.search.SearchField(db_default='', editable=False, max_length=300),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.RemoveIndex(model_name='user', name='users_by_name'),
        migrations.AddIndex(
            model_name='user',
            index=models.Index(fields=['account', 'username', 'search'], name='users_by_name'),
        ),
        migrations.CreateModel(
            name='ImportJob',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('started_at', models.DateTimeField(default=server.clock.now)),
                ('address', models.GenericIPAddressField(null=True)),
                ('language', models.CharField(max_length=8)),
                ('public_key', models.CharField(max_length=44)),
                ('worker', models.CharField(blank=True, max_length=16)),
                ('leased_until', models.DateTimeField()),
                ('finished_at', models.DateTimeField(null=True)),
                ('fetched_at', models.DateTimeField(null=True)),
                ('started_by', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'indexes': [models.Index(condition=Q(finished_at__isnull=True), fields=['leased_until'], name='unfinished_imports')],
            },
        ),
        migrations.CreateModel(
            name='ImportLine',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('username', models.CharField(max_length=80)),
                ('display_name', models.CharField(blank=True, max_length=150)),
                ('role', models.CharField(blank=True, max_length=16)),
                ('done', models.BooleanField(default=False)),
                ('error', models.TextField(blank=True)),
                ('sealed', models.BinaryField(null=True)),
                ('job', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='lines', to='console.importjob')),
            ],
            options={
                'indexes': [models.Index(fields=['job', 'done', 'number'], name='lines_of_import')],
            },
        ),
    ]
