"""Fills an empty database for the benches: one account, many users with a PC each, a history.

`python -m tests.bench.seed USERS DEVICES` takes the database from the server's own settings.
"""

from __future__ import annotations

import gc
import sys
from base64 import b64encode
from datetime import timedelta

from server import config, serve
from tests.bench import people

BATCH = 1_000
CROWD = "crowd"
"""A user with very many PCs: those with the numbers after the last user's."""


def fill(users: int, devices: int, crowd: int) -> None:
    """The first `devices` users have a PC; user `CROWD` has `crowd` PCs. Nobody waits.

    Every tenth PC is on an old password. Of the users without a PC, some are disabled, or have
    a temporary password.
    """
    from django.db import transaction

    from server import clock
    from server.console.hashers import Verifier
    from server.console.models import Account, AuditEvent, Device, RetiredPassword, User

    keys = people.keys()
    verifier = Verifier(people.ITERATIONS, people.SALT, keys.stored, keys.server).format()
    retired = Verifier(people.ITERATIONS, people.SALT, b"o" * 32, b"o" * 32).format()
    changed = clock.now() - timedelta(days=10)
    created, until = changed - timedelta(days=100), changed + timedelta(days=30)

    def user(name: str, number: int, role: User.Role = User.Role.GENERAL) -> User:
        return User(
            account=account,
            username=name,
            display_name=f"利用者 {number}",
            password=verifier,
            password_changed_at=changed,
            role=role,
            is_active=number <= devices or number % 100 > 0,
            must_change_password=number > devices and number % 50 == 1,
        )

    def device(number: int, owner: User) -> Device:
        return Device(
            user=owner,
            device_id=people.device_id(number),
            public_key=b64encode(people.public_key(number)).decode(),
            name=f"PC-{number}",
            os="Windows 11",
            version="1.0.0",
            login_password="current" if number % 10 else "old",
            login_valid_until=None if number % 10 else until,
        )

    with transaction.atomic():
        account = Account.objects.create(name="Bench")
        administrator = user(people.ADMINISTRATOR, 0, User.Role.ADMINISTRATOR)
        administrator.save()
        (many,) = User.objects.bulk_create([user(CROWD, 0)])
        for first in range(1, users + 1, BATCH):
            numbers = range(first, min(first + BATCH, users + 1))
            made = User.objects.bulk_create(user(people.username(n), n) for n in numbers)
            pairs = [(n, u) for n, u in zip(numbers, made, strict=True) if n <= devices]
            Device.objects.bulk_create(device(n, owner) for n, owner in pairs)
            RetiredPassword.objects.bulk_create(
                RetiredPassword(
                    user=u, verifier=retired, since=created, retired_at=changed, valid_until=until
                )
                for n, u in pairs
                if n % 10 == 0
            )
            AuditEvent.objects.bulk_create(
                AuditEvent(
                    account=account,
                    actor=administrator,
                    actor_name=administrator.username,
                    subject=each,
                    subject_name=each.username,
                    action="user.created",
                    at=created + timedelta(seconds=number),
                )
                for number, each in zip(numbers, made, strict=True)
            )
        Device.objects.bulk_create(
            [device(users + 1 + n, many) for n in range(crowd)], batch_size=BATCH
        )


def main() -> None:
    gc.disable()
    serve.prepare(config.load())
    fill(*map(int, sys.argv[1:]))


if __name__ == "__main__":
    main()
