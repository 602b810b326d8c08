"""The statements that every login needs, as SQL.

Ten thousand clients come back at once after a restart, and building a query with Django's ORM
takes longer than all else that a login costs: with these a reconnect takes a tenth of the time.
Everything rarer goes through the ORM, in `store.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import connection

_FIND_USER = """
    SELECT id, password, password_changed_at, EXISTS (
        SELECT 1 FROM console_device WHERE user_id = console_user.id AND device_id = %s
    ) FROM console_user WHERE username = %s"""
_OLD_PASSWORDS = """
    SELECT verifier, since, valid_until FROM console_retiredpassword WHERE user_id = %s
    ORDER BY retired_at DESC, id DESC LIMIT %s"""
_LOCK_USER = """
    SELECT u.is_active, u.password_changed_at, d.id, d.blocked_at, EXISTS (
        SELECT 1 FROM console_pendingchange WHERE device_id = d.id AND outcome = 'pending'
    ), d.gateway FROM console_user u
    LEFT JOIN console_device d ON d.user_id = u.id AND d.device_id = %s
    WHERE u.id = %s"""
_SET_WAITING = """
    UPDATE console_device SET name = %s, os = %s, version = %s, address = %s, last_seen_at = %s,
    waiting_since = %s, gateway = %s, login_password = %s, login_valid_until = %s
    WHERE id = %s"""
_CLEAR_WAITING = """
    UPDATE console_device SET waiting_since = NULL, gateway = '', last_seen_at = %s
    WHERE id = %s AND waiting_since = %s AND gateway = %s"""
_STILL_WAITING = """
    UPDATE console_device SET waiting_since = %s, gateway = %s
    WHERE id = %s AND waiting_since IS NULL AND blocked_at IS NULL"""


@dataclass(frozen=True)
class FoundUser:
    """A user as a login begins with."""

    pk: int
    password: str
    password_changed_at: datetime
    knows_device: bool


@dataclass(frozen=True)
class LockedUser:
    """A user, kept from changing until the transaction ends, and one device of the user's."""

    is_active: bool
    password_changed_at: datetime
    device_pk: int | None
    is_blocked: bool
    has_pending: bool
    gateway: str
    """Where the device waits; empty when it does not."""


def find_user(username: str, device_id: str) -> FoundUser | None:
    """By the name after SASLprep, exactly."""
    with connection.cursor() as cursor:
        cursor.execute(_FIND_USER, [device_id, username])
        row = cursor.fetchone()
    if row is None:
        return None
    return FoundUser(row[0], row[1], _aware(row[2]), knows_device=bool(row[3]))


def old_passwords(user_pk: int, *, limit: int) -> list[tuple[str, datetime, datetime]]:
    """Verifier, since, valid until; the newest first, ended ones too."""
    with connection.cursor() as cursor:
        cursor.execute(_OLD_PASSWORDS, [user_pk, limit])
        rows = cursor.fetchall()
    return [(verifier, _aware(since), _aware(until)) for verifier, since, until in rows]


def lock_user(user_pk: int, device_id: str) -> LockedUser | None:
    """Inside a transaction. (SQLite has one writer at a time, and needs no lock.)"""
    lock = " FOR UPDATE OF u" if connection.features.has_select_for_update else ""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK_USER + lock, [device_id, user_pk])
        row = cursor.fetchone()
    if row is None:
        return None
    return LockedUser(
        is_active=bool(row[0]),
        password_changed_at=_aware(row[1]),
        device_pk=row[2],
        is_blocked=row[3] is not None,
        has_pending=bool(row[4]),
        gateway=row[5] or "",
    )


def set_waiting(
    device_pk: int,
    *,
    labels: Sequence[str],
    address: str,
    seen_at: datetime,
    waiting_since: datetime,
    gateway: str,
    login_password: str,
    login_valid_until: datetime | None,
) -> None:
    """The device waits. `labels` are its name, operating system and version."""
    with connection.cursor() as cursor:
        cursor.execute(
            _SET_WAITING,
            [
                *labels,
                address,
                _param(seen_at),
                _param(waiting_since),
                gateway,
                login_password,
                _param(login_valid_until),
                device_pk,
            ],
        )


def clear_waiting(
    device_pk: int, *, waiting_since: datetime, seen_at: datetime, gateway: str
) -> None:
    """The device no longer waits, if it is still by that login that it does."""
    with connection.cursor() as cursor:
        cursor.execute(_CLEAR_WAITING, [_param(seen_at), device_pk, _param(waiting_since), gateway])


def still_waiting(waits: Sequence[tuple[int, datetime]], *, gateway: str) -> None:
    """These devices wait since then, though their rows had been cleared."""
    with connection.cursor() as cursor:
        cursor.executemany(
            _STILL_WAITING, [(_param(since), gateway, device_pk) for device_pk, since in waits]
        )


def _aware(value: datetime) -> datetime:
    """SQLite's driver gives times without their zone, which is UTC."""
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _param(value: datetime | None) -> datetime | str | None:
    """PostgreSQL takes the time as it is, SQLite a text; the types know only of the latter."""
    return connection.ops.adapt_datetimefield_value(value)
