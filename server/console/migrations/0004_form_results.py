"""Add the answers to forms, and name the push after its concept; its table keeps its name."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    """Create one table and rename one model."""

    dependencies: ClassVar = [("console", "0003_pages_of_large_accounts")]

    operations: ClassVar = [
        migrations.AlterModelTable(name="pendingchange", table="console_pendingchange"),
        migrations.RenameModel(old_name="PendingChange", new_name="PushDelivery"),
        migrations.CreateModel(
            name="FormResult",
            fields=[
                ("digest", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("at", models.DateTimeField(auto_now_add=True)),
                ("sealed", models.BinaryField(null=True)),
            ],
        ),
    ]
