"""Name the outcomes of a warning that a client reports."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    """Widen the choices; the database has nothing to change."""

    dependencies: ClassVar = [("console", "0004_imports_and_search")]

    operations: ClassVar = [
        migrations.AlterField(
            model_name="device",
            name="warned",
            field=models.CharField(
                blank=True,
                choices=[
                    ("shown", "shown"),
                    ("clicked", "clicked"),
                    ("dismissed", "closed by the user"),
                    ("suppressed", "not due"),
                    ("unseen", "not seen"),
                    ("failed", "could not be shown"),
                ],
                max_length=16,
            ),
        ),
    ]
