"""Build the console as an ASGI application, for uvicorn."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "server.settings")

_django = get_asgi_application()

from server.console.health import Health  # noqa: E402 - Django has to be set up first
from server.console.middleware import (  # noqa: E402 - as above
    check_head,
    limit_body,
    limit_time,
)

application = Health(check_head(limit_time(limit_body(_django))))
