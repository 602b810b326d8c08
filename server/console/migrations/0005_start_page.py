"""Add the indexes of the administrators' start page."""

from typing import ClassVar

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    """Index PCs by when they were seen, and pushes by how they failed."""

    dependencies: ClassVar = [("console", "0004_form_results")]

    operations: ClassVar = [
        migrations.AddIndex(
            model_name="device",
            index=models.Index(
                fields=["last_seen_at", "id", "user", "waiting_since", "blocked_at"],
                name="devices_not_waiting",
                condition=Q(waiting_since__isnull=True, blocked_at__isnull=True),
            ),
        ),
        migrations.AddIndex(
            model_name="pushdelivery",
            index=models.Index(fields=["failure", "outcome", "device"], name="failed_deliveries"),
        ),
    ]
