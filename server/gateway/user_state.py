"""Read the current state of users whose clients wait: one statement for any number of users.

Every push waits for this. On PostgreSQL it runs on the gateway's own loop, because a thread would
wait for the interpreter lock while thousands log in. SQLite blocks, so there it runs on a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from django.db import DatabaseError, connection, connections

from server import clock, config
from server.cluster import database
from server.console.models import temporary_until
from server.gateway.records import AcceptedLogin, PendingPush

if TYPE_CHECKING:
    import psycopg

MAX_USERS = 200
"""Users of one statement, so that it holds up neither the loop nor the database."""

# One statement sees one moment. Each row says by its first column what it is about.
_STATEMENT = """
    SELECT 0, id, CASE WHEN is_active THEN 1 ELSE 0 END,
        CASE WHEN must_change_password THEN 1 ELSE 0 END, CAST(NULL AS text),
        CAST(NULL AS text), password_changed_at, password_changed_at
    FROM console_user WHERE id {among}
    UNION ALL
    SELECT 1, user_id, id, CASE WHEN blocked_at IS NULL THEN 0 ELSE 1 END, gateway, NULL,
        waiting_since, NULL
    FROM console_device WHERE user_id {among}
    UNION ALL
    SELECT 2, user_id, 0, 0, NULL, NULL, since, valid_until
    FROM console_retiredpassword WHERE user_id {among} AND valid_until > {now}
    UNION ALL
    SELECT 3, d.user_id, d.id, 0, c.id, p.sealed, c.changed_at, NULL
    FROM console_pendingchange p
    JOIN console_device d ON d.id = p.device_id
    JOIN console_passwordchange c ON c.id = p.change_id
    WHERE d.user_id {among} AND p.outcome = 'pending'"""
_POSTGRESQL = _STATEMENT.format(among="= ANY(%(users)s::bigint[])", now="%(now)s")
_SQLITE = _STATEMENT.format(among="IN (SELECT value FROM json_each(%(users)s))", now="%(now)s")


@dataclass(frozen=True)
class DevicePresence:
    """Where a device waits, as the database has it."""

    gateway: str
    waiting_since: datetime | None
    is_blocked: bool


@dataclass
class UserState:
    """The state of a user. A user who does not exist is not active."""

    is_active: bool = False
    devices: dict[int, DevicePresence] = field(default_factory=dict)
    """By the device's primary key, as in `pending`."""
    pending: dict[int, list[PendingPush]] = field(default_factory=dict)
    """The oldest first."""
    accepted: dict[datetime, AcceptedLogin] = field(default_factory=dict)
    """Every password that still works, by its `since`."""


class UserStates:
    """Enter it on the loop, then `read`."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "gateway-pushes")
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await self.read([])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()
        await asyncio.get_running_loop().run_in_executor(self._thread, connections.close_all)
        self._thread.shutdown()

    async def read(self, user_ids: Collection[int]) -> dict[int, UserState]:
        """Return the state of at most `MAX_USERS` users. Raise DatabaseError."""
        if not config.current().is_postgresql:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, _read_sqlite, user_ids)
        import psycopg

        async with self._lock:
            while True:
                was_open = self._connection is not None
                try:
                    return await self._read_postgresql(user_ids)
                except psycopg.Error as exc:
                    await self._close()
                    if not was_open:  # else a restart of PostgreSQL may have broken it long ago
                        raise DatabaseError(str(exc)) from exc

    async def _read_postgresql(self, user_ids: Collection[int]) -> dict[int, UserState]:
        import psycopg

        if self._connection is None:
            parameters: dict[str, Any] = database.parameters(config.current())
            self._connection = await psycopg.AsyncConnection.connect(
                **parameters, autocommit=True, prepare_threshold=0
            )
            # Planning it each time takes five times as long as the statement itself.
            await self._connection.execute("SET plan_cache_mode = force_generic_plan")
        asked = {"users": list(user_ids), "now": clock.now()}
        cursor = await self._connection.execute(_POSTGRESQL, asked)
        return _states(user_ids, await cursor.fetchall())

    async def _close(self) -> None:
        opened, self._connection = self._connection, None
        if opened is not None:
            await opened.close()


def _read_sqlite(user_ids: Collection[int]) -> dict[int, UserState]:
    users = f"[{','.join(str(each) for each in user_ids)}]"
    now: Any = connection.ops.adapt_datetimefield_value(clock.now())
    with connection.cursor() as cursor:
        cursor.execute(_SQLITE, {"users": users, "now": now})
        return _states(user_ids, cursor.fetchall())


def _states(user_ids: Iterable[int], rows: Iterable[tuple[Any, ...]]) -> dict[int, UserState]:
    found = {user_id: UserState() for user_id in user_ids}
    for kind, user_id, number, flag, text, sealed, at, until in rows:
        state = found[user_id]
        if kind == 0:
            since = _time(at)
            state.is_active = bool(number)
            ends_at = temporary_until(since) if flag else None
            if ends_at is None or ends_at > clock.now():
                state.accepted[since] = AcceptedLogin(since, "current", ends_at)
        elif kind == 1:
            since_when = _time(at) if at else None
            state.devices[number] = DevicePresence(text, since_when, is_blocked=bool(flag))
        elif kind == 2:
            since = _time(at)
            # The current password is no old one, even if its rounds were raised since.
            state.accepted.setdefault(since, AcceptedLogin(since, "old", _time(until)))
        else:
            state.pending.setdefault(number, []).append(PendingPush(text, sealed, _time(at)))
    for state in found.values():
        for pushes in state.pending.values():
            pushes.sort(key=lambda each: each.changed_at)
    return found


def _time(value: datetime | str) -> datetime:
    """Return a time from the database: PostgreSQL gives times, SQLite texts in UTC."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value if value.tzinfo else value.replace(tzinfo=UTC)
