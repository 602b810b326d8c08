"""The fixtures of the console's tests: browsers, and a user of another account."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from axes.models import AccessAttempt
from django.test import Client

from server.console.models import User
from tests.support.console_client import Browse, new_client


@pytest.fixture
def browse() -> Browse:
    """`browse(user)` returns a browser in English, in which the user has logged in."""

    def make(user: User | None = None, **options: object) -> Client:
        client = new_client(**options)  # type: ignore[arg-type]  # passed through as they are
        if user is not None:
            client.force_login(user)
        return client

    return make


@pytest.fixture
def client(browse: Browse, administrator: User) -> Client:
    """Return a browser in which the administrator has logged in."""
    return browse(administrator)


@pytest.fixture(autouse=True)
def _no_lockout(database: None) -> Iterator[None]:
    yield
    AccessAttempt.objects.all().delete()


@pytest.fixture
def stranger(database: None) -> User:
    """Return a general user of another account."""
    from server.console.models import Account

    account, _ = Account.objects.get_or_create(name="another account")
    number = User.objects.filter(account=account).count()
    return User.objects.create(account=account, username=f"stranger{number}", password="!")
