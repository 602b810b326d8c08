"""Wake the gateways when something about a user has changed, at the commit of the change.

A wake-up carries the user's id and nothing else. The gateway then reads the database and decides
what to send to its clients. So a late or repeated wake-up does no harm, and a wake-up holds no
secret. On PostgreSQL, NOTIFY in the changing transaction reaches the gateways of all processes. On
SQLite the server is one process, and a Django signal is enough. Commands run in other processes:
the gateway finds their changes as events in the audit trail.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, connection, connections, transaction
from django.dispatch import Signal

from server import config, metrics
from server.cluster import database
from server.supervised import Supervision, supervised

if TYPE_CHECKING:
    import psycopg

log = logging.getLogger(__name__)

CHANNEL = "coconowork"
RETRY_SECONDS = (0.2, 5.0)
"""The first and the longest pause between attempts to reconnect."""

UNLOCK = "unlock "
"""Prefix of a NOTIFY payload that has a user's name instead of an id."""
UNLOCKED = "login.unlocked"
"""The action in the audit trail that means the same as `UNLOCK`."""
LOOK_SECONDS = 1.0
"""Interval at which a gateway on SQLite looks for changes of commands; a look takes some µs."""

woken = Signal()
"""Sent in this process, with `user_id`, after a change is committed to SQLite."""

Listener = Callable[[int | None], None]
"""Called on the listening loop with a user's id; must return at once and not raise.

None means that wake-ups may have been lost: all users must be checked."""
OnUnlock = Callable[[str], None]
"""Called on the listening loop with the name of a user, to forget the user's wrong passwords."""


def publish(user_id: int) -> None:
    """Wake the gateways for this user. Call inside the transaction of the change."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, str(user_id)])
    else:
        transaction.on_commit(lambda: woken.send(None, user_id=user_id))


def publish_unlock(username: str) -> None:
    """Make the gateways forget a user's wrong passwords. Call in the audit event's transaction."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, f"{UNLOCK}{username}"])


def listening(listener: Listener, on_unlock: OnUnlock) -> AbstractAsyncContextManager[Supervision]:
    """Return a context in which `listener` is called for each wake-up.

    Its value is the supervision of the listening task. Entering it may raise DatabaseError.
    """
    listen = _remote if config.current().is_postgresql else _local
    return listen(listener, on_unlock)


@asynccontextmanager
async def _local(listener: Listener, on_unlock: OnUnlock) -> AsyncIterator[Supervision]:
    loop = asyncio.get_running_loop()
    thread = ThreadPoolExecutor(1, "wake-ups")
    last = 0

    def hop(user_id: int, **_: object) -> None:
        with suppress(RuntimeError):  # the loop was closed just now
            loop.call_soon_threadsafe(listener, user_id)

    async def keep_looking() -> None:
        nonlocal last
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                events = await loop.run_in_executor(thread, _events_after, last)
            except DatabaseError:
                continue  # other code logs that; the events can be read later
            for user_id in {user_id for _, user_id, *_ in events}:
                listener(user_id)
            for number, _, action, name in events:
                last = number
                if action == UNLOCKED:
                    on_unlock(name)

    woken.connect(hop, weak=False)
    try:
        last = await loop.run_in_executor(thread, _last_event)
        async with supervised("listen", keep_looking) as supervision:
            yield supervision
    finally:
        woken.disconnect(hop)
        await loop.run_in_executor(thread, connections.close_all)
        thread.shutdown()


# SQL instead of the console's models, because the console imports this module.
def _last_event() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id), 0) FROM console_auditevent")
        return int(cursor.fetchone()[0])


def _events_after(last: int) -> list[tuple[int, int, str, str]]:
    """Return number, user's id, action and user's name of each event after `last`."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, subject_id, action, subject_name FROM console_auditevent"
            " WHERE id > %s AND subject_id IS NOT NULL ORDER BY id",
            [last],
        )
        return list(cursor.fetchall())


@asynccontextmanager
async def _remote(listener: Listener, on_unlock: OnUnlock) -> AsyncIterator[Supervision]:
    """LISTEN on this loop with a connection; a thread would wait for the interpreter lock."""
    import psycopg

    try:
        opened = await database.connect(f"LISTEN {CHANNEL}")
    except psycopg.Error as exc:
        raise DatabaseError(str(exc)) from exc

    async def keep_listening() -> None:
        nonlocal opened
        while True:
            try:
                async with opened:
                    async for wake_up in opened.notifies():
                        if wake_up.payload.startswith(UNLOCK):
                            on_unlock(wake_up.payload.removeprefix(UNLOCK))
                        elif wake_up.payload.isascii() and wake_up.payload.isdigit():
                            listener(int(wake_up.payload))
            except psycopg.Error as exc:
                log.warning("LISTEN connection lost, reconnecting: %s", type(exc).__name__)
            opened = await _reconnect()
            listener(None)

    async with supervised("listen", keep_listening) as supervision:
        yield supervision


async def _reconnect() -> psycopg.AsyncConnection[Any]:
    """Try to connect until it succeeds, and return the connection."""
    import psycopg

    pause, longest = RETRY_SECONDS
    while True:
        await asyncio.sleep(pause)
        pause = min(pause * 2, longest)
        try:
            opened = await database.connect(f"LISTEN {CHANNEL}")
        except psycopg.Error as exc:
            log.debug("LISTEN connection not restored yet: %s", exc)
        else:
            metrics.bus_reconnects.inc()
            log.warning("LISTEN connection restored; checking all clients that wait here")
            return opened
