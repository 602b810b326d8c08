"""Set up the server for tests: Django on an SQLite file, users, and a gateway.

With TEST_DATABASE=postgresql in the environment, the tests start a PostgreSQL and use that.
"""

from __future__ import annotations

import asyncio
import atexit
import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import django
import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection

from server import clock, config
from server.cluster.database import release
from tests.support.polling import eventually

if TYPE_CHECKING:
    from server.console.models import Account, Device, Pairing, PasswordChange, User
    from server.gateway.server import Gateway
    from tests.support.gateway_client import Client

__all__ = ["_clock_back", "account", "administrator", "database", "gateway", "make_device",
           "make_user", "user"]  # fmt: skip
"""The fixtures, for `from … import *` in the conftest.py of a folder."""

_T = TypeVar("_T")
MakeUser = Callable[..., "User"]
MakeDevice = Callable[..., "Device"]
MakePairing = Callable[..., "Pairing"]
"""The types of the fixtures that save rows."""

if not apps.ready:
    # At import, because test modules import models.
    _folder = Path(tempfile.mkdtemp(prefix="coconowork-tests-"))
    atexit.register(shutil.rmtree, _folder, ignore_errors=True)
    _url = None
    if os.environ.get("TEST_DATABASE") == "postgresql":
        from tests.support.postgres import running_postgres

        _server = running_postgres()
        _url = _server.__enter__().new_database()
        atexit.register(_server.__exit__, None, None, None)
    config.use(
        config.load({}, data_dir=_folder, database=_url, gateway_port=0, gateway_name="gateway")
    )
    django.setup(set_prefix=False)

P1, P2, P3 = "Passw0rd!", "Second-2nd", "Third+3rd"
SALT = b"a salt for tests"


@pytest.fixture(scope="session")
def database() -> Iterator[None]:
    call_command("migrate", verbosity=0)
    yield
    release()


_numbers = itertools.count(1)


@pytest.fixture
def account(database: None) -> Account:
    from server.console.models import Account

    return Account.objects.create(name=f"account {next(_numbers)}")


@pytest.fixture
def make_user(account: Account) -> Callable[..., User]:
    """`make_user(password=P1, **fields)` saves a user with a new name."""
    from server.console.hashers import ITERATIONS, format_verifier, hash_password
    from server.console.models import User

    def make(password: str = P1, **fields: object) -> User:
        verifier = hash_password(password, salt=SALT, iterations=ITERATIONS)
        own = {"username": f"user{next(_numbers)}", "password": format_verifier(verifier)}
        return User.objects.create(**{"account": account} | own | fields)

    return make


@pytest.fixture
def user(make_user: Callable[..., User]) -> User:
    return make_user()


@pytest.fixture
def administrator(make_user: Callable[..., User]) -> User:
    from server.console.models import User

    return make_user(role=User.Role.ADMINISTRATOR)


def live_gateway() -> str:
    """Return the name of a gateway that has a recent heartbeat, but no process."""
    from django.db.models.functions import Now

    from server.console.models import Gateway

    name = "of the tests"
    tomorrow = Now() + timedelta(days=1)
    Gateway.objects.update_or_create(name=name, defaults={"started_at": Now(), "seen_at": tomorrow})
    return name


@pytest.fixture
def make_device() -> Callable[..., Device]:
    """`make_device(user, waiting=True, **fields)` saves a device as the gateway does."""
    from server.console.models import Device
    from tests.support.gateway_client import describe, new_key

    def make(user: User, *, waiting: bool = True, **fields: object) -> Device:
        known = describe(new_key())
        row = {"device_id": known.id, "public_key": known.public_key, "name": "PC-1"}
        waits = {"waiting_since": clock.now(), "gateway": live_gateway()} if waiting else {}
        return Device.objects.create(user=user, **row | waits | fields)

    return make


@pytest.fixture(autouse=True)
def _clock_back() -> Iterator[None]:
    """Reset the server's clock after the test."""
    before = clock._offset
    yield
    clock.move(before - clock._offset)
    assert clock._offset == before


def with_settings(**changed: object) -> config.Config:
    """Return the tests' settings, with `changed` ones replaced."""
    return replace(config.current(), **changed)  # type: ignore[arg-type]  # each test's own


@pytest.fixture
async def gateway(database: None) -> AsyncIterator[Gateway]:
    """Yield a real gateway on a free port that sweeps only when the test calls `sweep`."""
    from server.gateway.server import Gateway

    async with Gateway(sweep_interval_s=3600) as running:
        yield running


def on_own_connection(work: Callable[[], _T]) -> _T:
    """Run `work` on a test's thread, then close that thread's connection to the database."""
    try:
        return work()
    finally:
        connection.close()


async def in_thread(work: Callable[[], _T]) -> _T:
    """Run `work` on a thread without an event loop, as Django's database calls need."""
    return await asyncio.to_thread(on_own_connection, work)


async def until(check: Callable[[], object]) -> None:
    """Wait until `check`, which may use the database, is true."""
    await in_thread(lambda: eventually(check))


async def change(user: User, new_password: str, *clients: Client) -> PasswordChange:
    """Change the password as the pages do, with a push to these clients' devices."""
    from server.console import passwords

    def work() -> PasswordChange:
        row = type(user).objects.get(pk=user.pk)
        devices = row.devices.filter(device_id__in=[client.device.id for client in clients])
        return passwords.change_own(row, new_password=new_password, push_to=list(devices))

    return await in_thread(work)
