"""The console as a Django application."""

import logging

from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_in


class ConsoleConfig(AppConfig):
    """The application with the models that console and gateway share."""

    name = "server.console"
    label = "console"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect signals and filter the log; Django calls this once the models are loaded."""
        from server.console.problems import shorten
        from server.console.sessions import begin

        user_logged_in.connect(begin)
        # A logger's filter does not apply to its child loggers, so filter in the handlers, too.
        for each in (logging.getLogger("django.request"), *logging.getLogger().handlers):
            each.addFilter(shorten)
