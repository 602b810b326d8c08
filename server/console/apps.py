"""The console as a Django application."""

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    """Holds the models that console and gateway share."""

    name = "server.console"
    label = "console"
    default_auto_field = "django.db.models.BigAutoField"
