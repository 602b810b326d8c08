"""Add the new PCs that wait for a password by a code."""

import django.db.models.deletion
import server.console.models
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('console', '0007_push_later'),
    ]

    operations = [
        migrations.CreateModel(
            name='Pairing',
            fields=[
                ('code', models.CharField(max_length=8, primary_key=True, serialize=False)),
                ('device_id', models.CharField(max_length=32)),
                ('public_key', models.CharField(max_length=44)),
                ('name', models.CharField(max_length=128)),
                ('os', models.CharField(max_length=128)),
                ('version', models.CharField(max_length=128)),
                ('address', models.GenericIPAddressField(null=True)),
                ('expires_at', models.DateTimeField(db_index=True)),
                ('change_id', models.CharField(default=server.console.models._new_change_id, max_length=32)),
                ('sealed', models.TextField(blank=True)),
                ('delivered_at', models.DateTimeField(null=True)),
                ('gateway', models.CharField(default='', max_length=64)),
                ('user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='pairings', to=settings.AUTH_USER_MODEL)),
            ],
        ),
    ]
