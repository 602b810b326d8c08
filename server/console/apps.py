"""The console as a Django application."""

import logging

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    """Holds the models that console and gateway share."""

    name = "server.console"
    label = "console"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Called by Django once the models are there."""
        from server.console.views.problems import one_line_when_the_database_is_away

        logging.getLogger("django.request").addFilter(one_line_when_the_database_is_away)
