"""What kind of page a request is for, by its path."""

from __future__ import annotations

from django.http import HttpRequest


def is_poll(request: HttpRequest) -> bool:
    """Return whether the script of an open page asks for a part of it."""
    return request.path.startswith(("/live/", "/app/live/"))


def in_app(request: HttpRequest) -> bool:
    """Return whether a page is one for the smartphone."""
    return request.path.startswith("/app/")
