"""The statements of every login and every disconnect, each for many clients at once.

They take their parameters as one JSON text and return their rows as another. So a statement is the
same for any number of clients, and the database answers in one step. Python's sqlite3 releases the
interpreter lock for every row, and on a busy gateway it takes milliseconds to get it back. Rarer
statements go through Django's ORM, in `records.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple, TypeVar

import msgspec
from django.db import connection

_T = TypeVar("_T")

_FIND = """
    SELECT CAST({collect}({row}(CAST({_0} AS integer), u.id, u.password, u.password_changed_at{utc},
        {temporary}, {device_known}, {old})) AS text)
    FROM {asked} JOIN console_user u ON u.username = {_1}"""
_TEMPORARY = "CASE WHEN u.must_change_password THEN 1 ELSE 0 END"
_DEVICE_KNOWN = """
    CASE WHEN EXISTS (SELECT 1 FROM console_device d WHERE d.user_id = u.id AND d.device_id = {_2})
    THEN 1 ELSE 0 END"""
MAX_OLD = 63
"""How many of a user's old passwords are read, the newest first."""
_OLD = """
    {nested}((SELECT {collect}({row}(o.verifier, o.since{utc}, o.valid_until{utc})) FROM (
        SELECT * FROM console_retiredpassword r WHERE r.user_id = u.id
        ORDER BY r.retired_at DESC, r.id DESC LIMIT {limit}) o))"""
_LOCK = """
    SELECT id FROM console_user WHERE id IN (SELECT CAST({_0} AS bigint) FROM {asked})
    ORDER BY id FOR NO KEY UPDATE"""
_LOCK_DEVICES = """
    SELECT d.id FROM console_device d WHERE (d.user_id, d.device_id) IN (
        SELECT CAST({_0} AS bigint), {_1} FROM {asked}) ORDER BY d.id FOR NO KEY UPDATE"""
_STANDINGS = """
    SELECT CAST({collect}({row}(CAST({_0} AS integer), CASE WHEN u.is_active THEN 1 ELSE 0 END,
        u.password_changed_at{utc}, {temporary}, d.id,
        CASE WHEN d.blocked_at IS NULL THEN 0 ELSE 1 END,
        CASE WHEN EXISTS (SELECT 1 FROM console_pendingchange p
            WHERE p.device_id = d.id AND p.outcome = 'pending') THEN 1 ELSE 0 END,
        COALESCE(d.gateway, ''),
        (SELECT MAX(r.valid_until) FROM console_retiredpassword r
            WHERE r.user_id = u.id AND r.since = {_3}{time} AND r.valid_until > {_4}{time}){utc}
        )) AS text)
    FROM {asked} JOIN console_user u ON u.id = CAST({_1} AS bigint)
    LEFT JOIN console_device d ON d.user_id = u.id AND d.device_id = {_2}"""
_SET_WAITING = """
    UPDATE console_device SET name = {_1}, os = {_2}, version = {_3}, address = {_4}{inet},
        last_seen_at = {_5}{time}, waiting_since = {_6}{time}, gateway = {_7},
        login_password = {_8}, login_valid_until = {_9}{time}
    FROM {asked} WHERE console_device.id = CAST({_0} AS bigint)"""
_FREE = """
    SELECT d.id FROM console_device d JOIN {asked} ON d.id = CAST({_0} AS bigint)
    WHERE d.waiting_since = {_1}{time} AND d.gateway = {_2}"""
_CLEAR_WAITING = """
    UPDATE console_device SET waiting_since = NULL, gateway = '', last_seen_at = {now}
    WHERE id IN ({free}{skip})"""
_NOT_CLEARED = "SELECT CAST({collect}(f.id) AS text) FROM ({free}) f"
_STILL_WAITING = """
    UPDATE console_device SET waiting_since = %s, gateway = %s
    WHERE id = %s AND waiting_since IS NULL AND blocked_at IS NULL"""


class Row(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A row about one client; `number` is the client's place in the batch."""


class OldPassword(Row, frozen=True, gc=False):
    """A password before the current one; it may have ended."""

    verifier: str
    since: datetime
    valid_until: datetime


class FoundUser(Row, frozen=True, gc=False):
    """A user and what a login of that user needs to begin."""

    number: int
    pk: int
    password: str
    password_changed_at: datetime
    is_temporary: int
    knows_device: int
    old: list[OldPassword] | None
    """The newest first."""


class LockedUser(Row, frozen=True, gc=False):
    """A user, locked until the transaction ends, and one of the user's devices."""

    number: int
    is_active: int
    password_changed_at: datetime
    is_temporary: int
    device_pk: int | None
    is_blocked: int
    has_pending: int
    gateway: str
    """Where the device waits; empty when it does not."""
    valid_until: datetime | None
    """The end of the asked password, when that is an old one that still works."""


class WaitingRow(NamedTuple):
    """What is written about a device that waits from now on, in the order of `_SET_WAITING`."""

    device_pk: int
    name: str
    os: str
    version: str
    address: str
    seen_at: datetime
    waiting_since: datetime
    gateway: str
    login_password: str
    login_valid_until: datetime | None


_found = msgspec.json.Decoder(list[FoundUser])
_locked = msgspec.json.Decoder(list[LockedUser])
_pks = msgspec.json.Decoder(list[int])


def find_users(asked: Sequence[tuple[str, str]]) -> list[FoundUser]:
    """Return the users that exist, by user name and device id; `number` is the place in `asked`."""
    rows = [(number, *each) for number, each in enumerate(asked)]
    return _ask(_statement(_FIND, device_known=_DEVICE_KNOWN, old=_OLD), [_json(rows)], _found)


def lock_users(asked: Sequence[tuple[int, str, datetime]], *, now: datetime) -> list[LockedUser]:
    """Lock and return users, by user, device id and the password's `since`; in a transaction.

    Locks are taken in one order everywhere (users, then devices, each by primary key) to avoid
    deadlocks. SQLite has one writer at a time and needs no locks.
    """
    if connection.features.has_select_for_update:
        with connection.cursor() as cursor:
            cursor.execute(_statement(_LOCK), [_json([(pk,) for pk, _, _ in asked])])
            cursor.execute(_statement(_LOCK_DEVICES), [_json([(pk, id_) for pk, id_, _ in asked])])
    rows = [
        (number, pk, device_id, since, now) for number, (pk, device_id, since) in enumerate(asked)
    ]
    return _ask(_statement(_STANDINGS), [_json(rows)], _locked)


def set_waiting(waiting: Iterable[WaitingRow]) -> None:
    """Write that these devices wait. Each may be given once."""
    with connection.cursor() as cursor:
        cursor.execute(_statement(_SET_WAITING), [_json(waiting)])


def clear_waiting(
    released: Sequence[tuple[int, datetime]], *, seen_at: datetime, gateway: str
) -> list[int]:
    """Write that devices, by primary key and `waiting_since`, no longer wait on `gateway`.

    A row that a newer login has written stays. Return the devices whose rows are locked by another
    transaction; waiting for them could be a deadlock.
    """
    rows = _json([(pk, since, gateway) for pk, since in released])
    has_locks = connection.features.has_select_for_update_skip_locked
    now = connection.ops.adapt_datetimefield_value(seen_at)
    with connection.cursor() as cursor:
        skip = " FOR NO KEY UPDATE OF d SKIP LOCKED" if has_locks else ""
        cursor.execute(_statement(_CLEAR_WAITING, free=_FREE, skip=skip, now="%s"), [now, rows])
    return _ask(_statement(_NOT_CLEARED, free=_FREE), [rows], _pks) if has_locks else []


def restore_waiting(waits: Sequence[tuple[int, datetime]], *, gateway: str) -> None:
    """Write again that devices wait, after another gateway has cleared their rows."""
    adapt = connection.ops.adapt_datetimefield_value
    with connection.cursor() as cursor:
        cursor.executemany(
            _STILL_WAITING, [(adapt(since), gateway, device_pk) for device_pk, since in waits]
        )


_DIALECTS: dict[str, dict[str, str]] = {
    "sqlite": {
        "asked": "json_each(%s) AS asked",
        "collect": "json_group_array",
        "row": "json_array",
        "nested": "json",
        "utc": " || '+00:00'",  # times are texts, in UTC without saying so
        "time": "",
        "inet": "",
        **{f"_{number}": f"json_extract(asked.value, '$[{number}]')" for number in range(10)},
    },
    "postgresql": {
        "asked": "json_array_elements(%s::json) AS asked(value)",
        "collect": "json_agg",
        "row": "json_build_array",
        "nested": "",
        "utc": "",
        "time": "::timestamptz",
        "inet": "::inet",
        **{f"_{number}": f"(asked.value ->> {number})" for number in range(10)},
    },
}


def _statement(template: str, **parts: str) -> str:
    """Return the statement for this database; `parts` may be templates themselves."""
    return _filled(connection.vendor, template, tuple(parts.items()))


@cache
def _filled(vendor: str, template: str, parts: tuple[tuple[str, str], ...]) -> str:
    words = {**_DIALECTS[vendor], "limit": str(MAX_OLD), "temporary": _TEMPORARY}
    return template.format(**words, **{name: part.format(**words) for name, part in parts})


def _ask(
    statement: str, parameters: list[Any], decoder: msgspec.json.Decoder[list[_T]]
) -> list[_T]:
    """Return all rows of a statement that returns them as one JSON text."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        [text] = cursor.fetchone()
    return decoder.decode(text or "[]")


def _json(rows: Iterable[Iterable[Any]]) -> str:
    """Return the rows as one JSON text, with times as this database compares them."""
    adapt = connection.ops.adapt_datetimefield_value
    return msgspec.json.encode(
        [[adapt(each) if isinstance(each, datetime) else each for each in row] for row in rows]
    ).decode()
