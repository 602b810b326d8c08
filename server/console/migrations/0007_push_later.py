"""Note when a push was asked for: a push may come later than its change."""

from typing import ClassVar

from django.db import migrations, models
from django.db.models.functions import Now

from server import clock


class Migration(migrations.Migration):
    """Add a time to pushes; the database fills it in for nodes of the version before."""

    dependencies: ClassVar = [("console", "0006_farewells")]

    operations: ClassVar = [
        migrations.AddField(
            model_name="pushdelivery",
            name="pushed_at",
            field=models.DateTimeField(default=clock.now, db_default=Now()),
        ),
    ]
