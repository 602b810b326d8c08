"""Browsers without a screen: Django's test client on the real database file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.test import Client

from server.console.models import User

Browse = Callable[..., Client]


def new_client(*, address: str = "127.0.0.1", language: str = "en", csrf: bool = False) -> Client:
    return Client(
        enforce_csrf_checks=csrf,
        headers={"accept-language": language},
        SERVER_NAME="localhost",
        REMOTE_ADDR=address,
    )


def page(answer: Any) -> str:
    """The page that a client got, if it got one."""
    assert answer.status_code == 200
    return str(answer.content.decode())


@pytest.fixture
def browse() -> Browse:
    """`browse(user)`: a browser in which the user is logged in already; in English."""

    def make(user: User | None = None, **options: object) -> Client:
        client = new_client(**options)  # type: ignore[arg-type]  # passed through as they are
        if user is not None:
            client.force_login(user)
        return client

    return make


@pytest.fixture(autouse=True)
def _nobody_locked_out(database: None) -> Iterator[None]:
    yield
    AccessAttempt.objects.all().delete()


@pytest.fixture
def stranger(database: None) -> User:
    """A general user of another account."""
    from server.console.models import Account

    account, _ = Account.objects.get_or_create(name="another account")
    number = User.objects.filter(account=account).count()
    return User.objects.create(account=account, username=f"stranger{number}", password="!")
