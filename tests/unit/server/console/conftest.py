"""The fixtures of the console's tests: browsers, a user of another account, new PCs."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.test import Client

from protocol.messages import CODE_CHARS
from protocol.sealing import device_id, new_device_key, public_key
from server import clock
from server.console.models import Account, Pairing, User
from tests.support.console_client import Browse, new_client
from tests.support.pbkdf2 import derived_once
from tests.support.server_fixtures import MakePairing


@pytest.fixture(scope="module", autouse=True)
def _one_round() -> Iterator[None]:
    """Hash with one round of PBKDF2 to save time; `test_hashers.py` tests the real number."""
    with derived_once(rounds=1):
        yield


@pytest.fixture
def browse() -> Browse:
    """`browse(user)` returns a browser in English, in which the user has logged in."""

    def make(user: User | None = None, **options: Any) -> Client:
        client = new_client(**options)
        if user is not None:
            client.force_login(user)
        return client

    return make


@pytest.fixture
def client(browse: Browse, administrator: User) -> Client:
    """Return a browser in which the administrator has logged in."""
    return browse(administrator)


@pytest.fixture
def mine(browse: Browse, user: User) -> Client:
    """Return a browser in which the user has logged in."""
    return browse(user)


@pytest.fixture(autouse=True)
def _no_lockout(database: None) -> Iterator[None]:
    yield
    AccessAttempt.objects.all().delete()


@pytest.fixture
def stranger(database: None) -> User:
    """Return a general user of another account."""
    account, _ = Account.objects.get_or_create(name="another account")
    number = User.objects.filter(account=account).count()
    return User.objects.create(account=account, username=f"stranger{number}", password="!")


@pytest.fixture
def make_pairing(database: None) -> MakePairing:
    """`make_pairing(key=…, **fields)` saves the row of a new PC, as the gateway does."""

    def make(key: str | None = None, **fields: Any) -> Pairing:
        public = public_key(key or new_device_key())
        row = {
            "code": "".join(secrets.choice(CODE_CHARS) for _ in range(8)),
            "device_id": device_id(public),
            "public_key": public,
            "name": "NEW & <PC>",
            "os": "Windows 11 Pro",
            "version": "1.2.3",
            "address": "192.0.2.77",
            "expires_at": clock.now() + timedelta(minutes=10),
        }
        return Pairing.objects.create(**row | fields)

    return make
