"""Tell by a request's path which kind of page it is for."""

from __future__ import annotations

from django.http import HttpRequest


def is_poll(request: HttpRequest) -> bool:
    """Return whether the script of an open page asks for a live part of the page."""
    return request.path.startswith(("/live/", "/app/live/"))


def in_app(request: HttpRequest) -> bool:
    """Return whether a request is for the smartphone page."""
    return request.path.startswith("/app/")
