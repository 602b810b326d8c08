"""The rules of a change of password, on a real database."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, connection, transaction

from server import clock
from server.cluster import bus
from server.console import passwords
from server.console.hashers import parse_verifier
from server.console.models import (
    Account,
    AuditEvent,
    Device,
    PasswordChange,
    PushDelivery,
    User,
)
from server.console.passwords import ConcurrentChange
from tests.support.server_fixtures import P1, P2, P3, MakeDevice, MakeUser, on_own_connection


def own(user: User, new_password: str, *push_to: Device) -> PasswordChange:
    return passwords.change_own(user, new_password=new_password, push_to=push_to)


@pytest.fixture
def woken() -> Iterator[list[int]]:
    """Yield the users that gateways were woken for. On PostgreSQL, NOTIFY does that."""
    heard: list[int] = []

    def hear(user_id: int, **_: object) -> None:
        heard.append(user_id)

    bus.woken.connect(hear)
    yield heard
    bus.woken.disconnect(hear)


@pytest.mark.database("sqlite")
def test_own_change(user: User, woken: list[int]) -> None:
    """The current password is retired for 30 days; the new one is current, here and in the row."""
    since = user.password_changed_at
    before = user.password
    user.must_change_password = True
    user.save()
    with transaction.atomic():
        made = own(user, P2)
        assert woken == [], "a gateway that is woken finds the change in the database"
    row = User.objects.get(pk=user.pk)
    assert row.check_password(P2)
    assert not row.check_password(P1)
    assert (row.password, row.must_change_password) == (user.password, False)
    [retired] = row.retired_passwords.all()
    assert (retired.verifier, retired.since) == (before, since)
    assert retired.valid_until == made.old_valid_until == retired.retired_at + timedelta(days=30)
    assert parse_verifier(before).shares_salt(parse_verifier(row.password))
    assert (made.kind, made.changed_by) == ("own", user)
    assert woken == [user.pk]
    assert passwords.old_valid_until(row) == made.old_valid_until
    clock.move(timedelta(days=30))
    assert passwords.old_valid_until(row) is None


def test_push_only_where_it_may_go(
    user: User, make_user: MakeUser, make_device: MakeDevice
) -> None:
    """A push goes only to chosen devices that are the user's, wait, and are not blocked."""
    waits = make_device(user)
    away = make_device(user, waiting=False)
    blocked = make_device(user, blocked_at=clock.now())
    strange = make_device(make_user())
    not_chosen = make_device(user)
    made = own(user, P2, waits, away, blocked, strange)
    assert [each.device for each in made.deliveries.all()] == [waits]
    assert not_chosen.deliveries.count() == 0
    for device in (waits, away, not_chosen):
        device.refresh_from_db()
        assert device.login_password == "old"
        assert device.login_valid_until == made.old_valid_until


def test_later_change_voids_the_earlier_push(user: User, make_device: MakeDevice) -> None:
    """A later change replaces a pending push: only the newest password is pushed."""
    device = make_device(user)
    first = own(user, P2, device)
    own(user, P3)
    pending = PushDelivery.objects.get(change=first)
    assert (pending.outcome, pending.sealed) == ("superseded", "")
    assert pending.outcome_at is not None


def test_changes_at_the_same_time(user: User) -> None:
    """Of several simultaneous changes one is made; the others raise ConcurrentChange."""
    barrier = threading.Barrier(4)

    def attempt(number: int) -> str:
        mine = User.objects.get(pk=user.pk)
        barrier.wait()
        try:
            own(mine, f"Another-{number}")
        except ConcurrentChange:
            return "lost"
        return "made"

    with ThreadPoolExecutor(4) as threads:
        attempts = [partial(on_own_connection, partial(attempt, number)) for number in range(4)]
        outcomes = list(threads.map(lambda work: work(), attempts))
    assert sorted(outcomes) == ["lost", "lost", "lost", "made"]
    assert user.retired_passwords.count() == user.password_changes.count() == 1
    assert AuditEvent.objects.filter(subject=user).count() == 1


@pytest.mark.database("sqlite")
def test_nothing_half_done(
    user: User, make_device: MakeDevice, monkeypatch: pytest.MonkeyPatch, woken: list[int]
) -> None:
    """When the last step fails, all steps are rolled back and no gateway is woken."""
    device = make_device(user)

    def fail(*arguments: object, **named: object) -> None:
        raise DatabaseError

    monkeypatch.setattr(passwords, "record", fail)
    before = user.password
    with pytest.raises(DatabaseError):
        own(user, P2, device)
    assert user.password == User.objects.get(pk=user.pk).password == before
    assert user.retired_passwords.count() == 0
    assert device.deliveries.count() == 0
    device.refresh_from_db()
    assert device.login_password == "current"
    assert woken == []


def test_forced(user: User, administrator: User, make_device: MakeDevice) -> None:
    """A forced change retires the old password as an own change does, and pushes nothing."""
    make_device(user)
    made = passwords.force(user, by=administrator, new_password=P2, must_change=True)
    row = User.objects.get(pk=user.pk)
    assert row.check_password(P2)
    assert row.must_change_password
    assert user.must_change_password
    assert made.deliveries.count() == 0
    assert (made.kind, made.changed_by) == ("forced", administrator)
    assert passwords.old_valid_until(row) == made.old_valid_until
    event = AuditEvent.objects.get(subject=user)
    assert (event.action, event.actor) == ("password.forced", administrator)


def test_who_may_force(user: User, administrator: User, make_user: MakeUser) -> None:
    """Only an enabled administrator of the account may force; a disabled user changes nothing."""
    elsewhere = Account.objects.create(name=f"other {user.pk}")
    for by in (
        make_user(),
        make_user(role=User.Role.ADMINISTRATOR, account=elsewhere),
        make_user(role=User.Role.ADMINISTRATOR, is_active=False),
    ):
        with pytest.raises(PermissionDenied):
            passwords.force(user, by=by, new_password=P2, must_change=False)
        with pytest.raises(PermissionDenied):
            passwords.end_old_passwords(user, by=by)
    User.objects.filter(pk=user.pk).update(is_active=False)
    with pytest.raises(PermissionDenied):  # from a session older than the disabling
        own(user, P2)
    assert User.objects.get(pk=user.pk).check_password(P1)


def test_first_password_retires_nothing(account: Account) -> None:
    """A first password retires none, and gets a new salt."""
    users = [User(account=account, username=f"new{n}-{account.pk}") for n in range(2)]
    for user in users:
        passwords.set_initial(user, P1, must_change=True)
        user.save()
        assert user.check_password(P1)
        assert user.must_change_password
    assert not parse_verifier(users[0].password).shares_salt(parse_verifier(users[1].password))
    assert [passwords.old_valid_until(user) for user in users] == [None, None]


@pytest.mark.database("sqlite")
def test_end_old_passwords(user: User, woken: list[int], make_device: MakeDevice) -> None:
    """`end_old_passwords` ends old passwords and pending pushes now; a second call ends none."""
    device = make_device(user)
    own(user, P2)
    own(user, P3, device)
    woken.clear()
    assert passwords.end_old_passwords(user, by=user) == 2
    assert woken == [user.pk]
    assert passwords.old_valid_until(user) is None
    assert [each.outcome for each in device.deliveries.all()] == ["expired"]
    device.refresh_from_db()
    assert device.login_valid_until is not None
    assert device.login_valid_until <= clock.now()
    assert passwords.end_old_passwords(user, by=user) == 0
    assert AuditEvent.objects.filter(subject=user, action="password.old_ended").count() == 1


def test_long_ended_passwords_are_forgotten(user: User) -> None:
    """Verifiers of passwords that ended long ago are deleted."""
    own(user, P2)
    for moved, left in ((timedelta(days=31), 1), (passwords.REMEMBERED, 0)):
        clock.move(moved)
        passwords.tidy_up()
        assert user.retired_passwords.count() == left


def everything() -> bytes:
    """Return the database's content: SQLite's files, or all PostgreSQL tables as text."""
    tables = connection.introspection.table_names()
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT string_agg(query_to_xml(format('SELECT * FROM %%I', t), true, true, '')"
                "::text, '') FROM unnest(%s::text[]) t",
                [tables],
            )
            return str(cursor.fetchone()[0]).encode()
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    folder: Path = connection.settings_dict["NAME"].parent
    return b"".join(path.read_bytes() for path in folder.glob("coconowork.sqlite3*"))


def test_no_secret_in_rows(user: User, administrator: User, make_device: MakeDevice) -> None:
    """The database, audit trail included, holds no password and no open box."""
    own(user, P2, make_device(user))
    passwords.force(user, by=administrator, new_password=P3, must_change=True)
    events = AuditEvent.objects.filter(subject=user)
    text = json.dumps([event.detail for event in events])
    assert "PC-1" in text
    content = everything()
    assert user.username.encode() in content
    for password in (P2, P3):
        assert password.encode() not in content
