"""Run the SQL statements of logins, disconnects and pushes, each for many clients at once.

A statement takes its parameters as one JSON text and returns its rows as another. So its text is
the same for any number of clients, and it returns one row. Python's sqlite3 releases the
interpreter lock for every row, and on a busy gateway taking the lock again takes milliseconds.
Rarer statements go through Django's ORM, in `records.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple, TypeVar

import msgspec
from django.db import connection, transaction

from protocol.messages import PasswordKind
from server import clock
from server.console.models import temporary_until

MAX_OLD = 63
"""Most old passwords that are read for a user, the newest first."""
_FIND = """
    SELECT CAST({collect}({row}(CAST({_0} AS integer), u.id, u.password, u.password_changed_at{utc},
        CAST(u.must_change_password AS integer),
        CASE WHEN EXISTS (SELECT 1 FROM console_device d
            WHERE d.user_id = u.id AND d.device_id = {_2}) THEN 1 ELSE 0 END,
        {nested}((SELECT {collect}({row}(o.verifier, o.since{utc})) FROM (
            SELECT * FROM console_retiredpassword r WHERE r.user_id = u.id
            ORDER BY r.retired_at DESC, r.id DESC LIMIT {limit}) o)))) AS text)
    FROM {asked} JOIN console_user u ON u.username = {_1}"""
_LOCK = """
    SELECT id FROM console_user WHERE id IN (SELECT CAST({_0} AS bigint) FROM {asked})
    ORDER BY id FOR NO KEY UPDATE"""
_LOCK_DEVICES = """
    SELECT d.id FROM console_device d WHERE (d.user_id, d.device_id) IN (
        SELECT CAST({_0} AS bigint), {_1} FROM {asked}) ORDER BY d.id FOR NO KEY UPDATE"""
_STATES = """
    SELECT CAST({collect}({row}(CAST({_2} AS integer), CAST(u.is_active AS integer),
        CAST(u.must_change_password AS integer), u.password_changed_at{utc},
        {nested}((SELECT {collect}({row}(r.since{utc}, r.valid_until{utc}))
            FROM console_retiredpassword r
            WHERE r.user_id = u.id AND r.valid_until > {_3}{time})),
        d.id, CASE WHEN d.blocked_at IS NULL THEN 0 ELSE 1 END, COALESCE(d.gateway, ''),
        d.waiting_since{utc},
        {nested}((SELECT {collect}({row}(p.id, p.sealed, p.pushed_at{utc})) FROM (
            SELECT c.id, p.sealed, p.pushed_at FROM console_pendingchange p
            JOIN console_passwordchange c ON c.id = p.change_id
            WHERE p.device_id = d.id AND p.outcome = 'pending' ORDER BY c.changed_at) p))
        )) AS text)
    FROM {asked} JOIN console_user u ON u.id = CAST({_0} AS bigint)
    LEFT JOIN console_device d ON d.user_id = u.id AND d.device_id = {_1}"""
_SET_WAITING = """
    UPDATE console_device SET name = {_1}, os = {_2}, version = {_3}, address = {_4}{inet},
        last_seen_at = {_5}{time}, waiting_since = {_6}{time}, gateway = {_7}, farewell = '',
        login_password = {_8}, login_valid_until = {_9}{time}
    FROM {asked} WHERE console_device.id = CAST({_0} AS bigint)"""
_CLEAR_WAITING = """
    UPDATE console_device SET waiting_since = NULL, gateway = '', last_seen_at = {_2}{time},
        farewell = {_5}
    FROM {asked} WHERE user_id = CAST({_0} AS bigint) AND device_id = {_1}
        AND waiting_since = {_3}{time} AND gateway = {_4}"""


class Row(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A row of a statement's result, or a row nested in such a row."""


class OldVerifier(Row, frozen=True, gc=False):
    """The verifier of an old password, which may have expired."""

    verifier: str
    since: datetime


class Found(Row, frozen=True, gc=False):
    """The answer to the request at index `number`."""

    number: int


class FoundUser(Found, frozen=True, gc=False):
    """A user, with what is needed to begin this user's login."""

    pk: int
    password: str
    password_changed_at: datetime
    is_temporary: int
    knows_device: int
    old: list[OldVerifier] | None
    """The newest first."""


_Found = TypeVar("_Found", bound=Found)


class OldPassword(Row, frozen=True, gc=False):
    """An old password that is still valid."""

    since: datetime
    valid_until: datetime


class PendingPush(Row, frozen=True, gc=False):
    """A changed password on its way to a device."""

    change_id: str
    sealed: str
    pushed_at: datetime


class AcceptedLogin(msgspec.Struct, frozen=True, gc=False):
    """The password of an accepted login. `since` identifies it among the user's passwords."""

    since: datetime
    password: PasswordKind
    ends_at: datetime | None
    """When an old or a temporary password expires; None for other passwords."""

    @property
    def valid_until(self) -> datetime | None:
        """Return when an old password expires, for the client; None for a current one."""
        return self.ends_at if self.password == "old" else None


class DeviceState(Found, frozen=True, gc=False):
    """The states of a user and a device; `device_pk` is None if the user has no such device."""

    is_active: int
    is_temporary: int
    password_changed_at: datetime
    old: list[OldPassword] | None
    device_pk: int | None
    is_blocked: int
    gateway: str
    """The gateway where the device waits; empty when it does not wait."""
    waiting_since: datetime | None
    pending: list[PendingPush] | None
    """The oldest first."""

    def accepts(self, since: datetime) -> AcceptedLogin | None:
        """Return the login that the password set at `since` allows; None if it has expired."""
        if since == self.password_changed_at:
            if not self.is_temporary:
                return AcceptedLogin(since, "current", None)
            ends_at = temporary_until(since)
            return AcceptedLogin(since, "current", ends_at) if ends_at > clock.now() else None
        ends = [old.valid_until for old in self.old or () if old.since == since]
        return AcceptedLogin(since, "old", max(ends)) if ends else None


class WaitingDevice(msgspec.Struct, frozen=True, gc=False):
    """The device that waits on a connection, and since when."""

    user_id: int
    device_id: str
    device_pk: int
    waiting_since: datetime


class ReleasedDevice(msgspec.Struct, frozen=True, gc=False):
    """A device that no longer waits: the reason that its client gave, and when it left."""

    device: WaitingDevice
    farewell: str
    at: datetime


class WaitingRow(NamedTuple):
    """The parameters of `_SET_WAITING` for one device, in their order."""

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


_users = msgspec.json.Decoder(list[FoundUser])
_states = msgspec.json.Decoder(list[DeviceState])


def find_users(asked: Sequence[tuple[str, str]]) -> list[FoundUser | None]:
    """Return the users by user name and device id, None for a user who does not exist."""
    row = _execute(_FIND, ((number, *each) for number, each in enumerate(asked)))
    return _in_order(_users, row, len(asked))


def lock(devices: Sequence[tuple[int, str]]) -> None:
    """Lock users and devices, by user and device id, until the transaction ends.

    Locks are taken in one order everywhere (users, then devices, each by primary key) to avoid
    deadlocks. SQLite has one writer at a time and needs no locks.
    """
    if connection.features.has_select_for_update:
        _execute(_LOCK, devices)
        _execute(_LOCK_DEVICES, devices)


def ask_states(asked: Sequence[tuple[int, str]]) -> tuple[str, list[str]]:
    """Return the statement for the states of devices, by user and device id, and its parameters."""
    now = clock.now()
    rows = ((*each, number, now) for number, each in enumerate(asked))
    return _statement(connection.vendor, _STATES), [_json(rows)]


def read_states(row: tuple[str | None], count: int) -> list[DeviceState | None]:
    """Decode the row of `ask_states` to `count` states, None for a user who does not exist."""
    return _in_order(_states, row, count)


def device_states(asked: Sequence[tuple[int, str]]) -> list[DeviceState | None]:
    """Return the states of devices, by user and device id, None for a user who does not exist."""
    with connection.cursor() as cursor:
        cursor.execute(*ask_states(asked))
        return read_states(cursor.fetchone(), len(asked))


def set_waiting(waiting: Iterable[WaitingRow]) -> None:
    """Write that these devices wait. Each device may occur only once."""
    _execute(_SET_WAITING, waiting)


def clear_waiting(released: Sequence[ReleasedDevice], *, gateway: str) -> None:
    """Write that devices no longer wait on `gateway`; leave the rows of newer logins."""
    rows = [
        (row.user_id, row.device_id, each.at, row.waiting_since, gateway, each.farewell)
        for each in released
        for row in [each.device]
    ]
    with transaction.atomic():
        lock([row[:2] for row in rows])
        _execute(_CLEAR_WAITING, rows)


_DIALECTS: dict[str, dict[str, str]] = {
    "sqlite": {
        "asked": "json_each(%s) AS asked",
        "collect": "json_group_array",
        "row": "json_array",
        "nested": "json",
        "utc": " || '+00:00'",  # times are stored as UTC texts without an offset
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


@cache
def _statement(vendor: str, template: str) -> str:
    """Return the statement of a template for a kind of database."""
    return template.format(**_DIALECTS[vendor], limit=MAX_OLD)


def _execute(template: str, rows: Iterable[Iterable[Any]]) -> Any:
    """Run a statement, and return its first row if it has rows."""
    with connection.cursor() as cursor:
        cursor.execute(_statement(connection.vendor, template), [_json(rows)])
        return cursor.fetchone() if cursor.description else None


def _in_order(
    decoder: msgspec.json.Decoder[list[_Found]], row: tuple[str | None], count: int
) -> list[_Found | None]:
    """Decode a statement's one row to `count` results, None for a request without one."""
    found = {each.number: each for each in decoder.decode(row[0] or "[]")}
    return [found.get(number) for number in range(count)]


def _json(rows: Iterable[Iterable[Any]]) -> str:
    """Return the rows as one JSON text, with times in the database's own format."""
    adapt = connection.ops.adapt_datetimefield_value
    return msgspec.json.encode(
        [[adapt(each) if isinstance(each, datetime) else each for each in row] for row in rows]
    ).decode()
