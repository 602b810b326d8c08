"""Use the console without a browser: Django's test client, on the real database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.test import Client

Browse = Callable[..., Client]
"""The type of the fixture `browse`."""


def new_client(*, address: str = "127.0.0.1", language: str = "en", csrf: bool = False) -> Client:
    """Return a browser that is not logged in."""
    return Client(
        enforce_csrf_checks=csrf,
        headers={"accept-language": language},
        SERVER_NAME="localhost",
        REMOTE_ADDR=address,
    )


def page(answer: Any) -> str:
    """Return the page that the console has answered with."""
    assert answer.status_code == 200
    return str(answer.getvalue().decode())
