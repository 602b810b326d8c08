"""Fills an empty database for the benches: one account, many users with a PC each, a history.

`python -m bench.seed USERS DEVICES CROWD` takes the database from the server's own settings.
One row of each kind is made by the models, and multiplied by the database: a hundred thousand
model instances would take half a minute.
"""

from __future__ import annotations

import sys
from base64 import b64encode
from datetime import timedelta
from typing import TYPE_CHECKING

from bench import people
from server import config
from server.commands import serve

if TYPE_CHECKING:
    from django.db.models import Model

CROWD = "crowd"
"""A user with very many PCs: those with the numbers after the last user's."""
_NUMBERS = """
    CREATE TEMPORARY TABLE numbers (number integer PRIMARY KEY, username varchar(64),
    device_id varchar(32), public_key varchar(44), at timestamp with time zone)"""


def fill(users: int, devices: int, crowd: int) -> None:
    """The first `devices` users have a PC; user `CROWD` has `crowd` PCs. Nobody waits.

    Every tenth PC is on an old password. Of the users without a PC, some are disabled, or have
    a temporary password.
    """
    from django.db import connection, transaction

    from protocol.scram import Verifier
    from server import clock
    from server.console.hashers import format_verifier
    from server.console.models import Account, AuditEvent, Device, RetiredPassword, User

    keys = people.keys()
    verifier = format_verifier(Verifier(people.ITERATIONS, people.SALT, keys.stored, keys.server))
    retired = format_verifier(Verifier(people.ITERATIONS, people.SALT, b"o" * 32, b"o" * 32))
    changed = clock.now() - timedelta(days=10)
    created, until = changed - timedelta(days=100), changed + timedelta(days=30)
    common = {"password": verifier, "password_changed_at": changed}
    with transaction.atomic(), connection.cursor() as cursor:
        account = Account.objects.create(name="Bench")
        administrator = User.objects.create(
            account=account, username=people.ADMINISTRATOR, role=User.Role.ADMINISTRATOR, **common
        )
        many = User.objects.create(
            account=account, username=CROWD, display_name="利用者 ", **common
        )
        device = Device.objects.create(
            user=many,
            device_id="0",
            os="Windows 11",
            version="1.0.0",
            login_password="old",
            login_valid_until=until,
        )
        old = RetiredPassword.objects.create(
            user=many, verifier=retired, since=created, retired_at=changed, valid_until=until
        )
        event = AuditEvent.objects.create(
            account=account, actor=administrator, subject=many, action="user.created"
        )
        cursor.execute(_NUMBERS)
        cursor.executemany(
            "INSERT INTO numbers VALUES (%s, %s, %s, %s, %s)",
            [
                (
                    number,
                    people.username(number) if number <= users else CROWD,
                    people.device_id(number),
                    b64encode(people.public_key(number)).decode(),
                    connection.ops.adapt_datetimefield_value(created + timedelta(seconds=number)),
                )
                for number in range(1, users + crowd + 1)
            ],
        )
        owners = "numbers AS n JOIN console_user AS u ON u.username = n.username"
        _multiply(
            many,
            f"numbers AS n WHERE n.number <= {users}",
            username="n.username",
            display_name="t.display_name || n.number",
            is_active=f"n.number <= {devices} OR n.number % 100 > 0",
            must_change_password=f"n.number > {devices} AND n.number % 50 = 1",
        )
        _multiply(
            device,
            f"{owners} WHERE n.number <= {devices} OR n.number > {users}",
            user_id="u.id",
            device_id="n.device_id",
            public_key="n.public_key",
            name="'PC-' || n.number",
            login_password="CASE WHEN n.number % 10 = 0 THEN 'old' ELSE 'current' END",
            login_valid_until="CASE WHEN n.number % 10 = 0 THEN t.login_valid_until END",
        )
        _multiply(
            old, f"{owners} WHERE n.number <= {devices} AND n.number % 10 = 0", user_id="u.id"
        )
        _multiply(
            event,
            f"{owners} WHERE n.number <= {users}",
            subject_id="u.id",
            subject_name="n.username",
            at="n.at",
        )
        for template in (device, old, event):
            template.delete()
        cursor.execute("DROP TABLE numbers")


def _multiply(template: Model, source: str, **columns: str) -> None:
    """Copy the row `template` (`t`) for each row of `source`, with these columns as they say."""
    from django.db import connection

    model = template._meta
    names = [str(each.column) for each in model.concrete_fields if not each.primary_key]
    values = [f"({columns[name]})" if name in columns else f"t.{name}" for name in names]
    tables, _, condition = source.partition(" WHERE ")
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {model.db_table} ({', '.join(names)}) "  # noqa: S608 - all ours
            f"SELECT {', '.join(values)} FROM {tables} "
            f"JOIN {model.db_table} AS t ON t.id = {template.pk} "
            f"WHERE {condition} ORDER BY n.number"
        )


def main() -> None:
    serve.prepare(config.load())
    fill(*map(int, sys.argv[1:]))


if __name__ == "__main__":
    main()
