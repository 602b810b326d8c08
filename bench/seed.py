"""Fill an empty database for the benches: `python -m bench.seed USERS PCS`.

The rows are one account, an administrator, numbered users, and a PC for each of the first `PCS`
users. Every tenth PC has an old password. PCs above number `BUSY` wait at a gateway that exists
only in the database. Some users without a PC are disabled or have a temporary password. The
server's settings name the database. A user's id is the user's number plus `FIRST_ID`.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import timedelta

import msgspec

from bench import people
from protocol.scram import verifier_of
from server import config
from server.commands import serve

BUSY = 12_000
"""PCs up to this number do not wait: real clients may log in as them."""
FIRST_ID = 1


def fill(users: int, pcs: int) -> None:
    """Make all rows, in one transaction."""
    from django.db import connection, transaction

    from server import clock
    from server.console.hashers import format_verifier
    from server.console.models import Account, AuditEvent, Device, Gateway, RetiredPassword, User

    verifier = verifier_of(people.keys())
    old = format_verifier(replace(verifier, stored_key=b"o" * 32))
    changed = clock.now() - timedelta(days=10)
    created, until = changed - timedelta(days=100), changed + timedelta(days=30)
    if connection.vendor == "postgresql":  # making 100,000 objects between statements takes long
        connection.cursor().execute("SET idle_in_transaction_session_timeout = 0")
    with transaction.atomic():
        Gateway.objects.create(name="elsewhere", incarnation="", started_at=created, seen_at=until)
        account = Account.objects.create(name="Bench")
        common = {
            "account": account,
            "password": format_verifier(verifier),
            "password_changed_at": changed,
        }
        administrator = User.objects.create(
            username=people.ADMINISTRATOR, role=User.Role.ADMINISTRATOR, **common
        )
        made = User.objects.bulk_create(
            User(
                username=people.username(number),
                display_name=f"利用者 {number}",
                is_active=number <= pcs or number % 100 > 0,
                must_change_password=number > pcs and number % 50 == 1,
                **common,
            )
            for number in range(1, users + 1)
        )
        Device.objects.bulk_create(
            Device(
                user=user,
                device_id=fields.pop("id"),
                login_password="current" if number % 10 else "old",
                login_valid_until=None if number % 10 else until,
                waiting_since=created if number > BUSY else None,
                gateway="elsewhere" if number > BUSY else "",
                **fields,
            )
            for number, user in enumerate(made[:pcs], start=1)
            for fields in [msgspec.structs.asdict(people.device(number))]
        )
        RetiredPassword.objects.bulk_create(
            RetiredPassword(
                user=user, verifier=old, since=created, retired_at=changed, valid_until=until
            )
            for user in made[9:pcs:10]
        )
        AuditEvent.objects.bulk_create(
            AuditEvent(
                account=account,
                actor=administrator,
                subject=user,
                subject_name=user.username,
                action="user.created",
                at=created + timedelta(seconds=number),
            )
            for number, user in enumerate(made)
        )


if __name__ == "__main__":
    serve.prepare(config.load())
    fill(*map(int, sys.argv[1:]))
