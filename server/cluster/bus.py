"""Wake the gateways when something about a user has changed, at the commit of the change.

A wake-up carries the user's id and nothing else. The gateway that gets it reads the database and
works out what to send to the clients. So a late or repeated wake-up does no harm, and no secret
travels. On SQLite everything is one process. On PostgreSQL, NOTIFY in the changing transaction
reaches the gateways of all processes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, connection, transaction
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

woken = Signal()
"""Sent in this process, with `user_id`, after a change is committed to SQLite."""

Listener = Callable[[int | None], None]
"""Called with the user's id on the listening loop; must return at once and not raise.

None means that wake-ups may have been lost: all users must be checked."""


def publish(user_id: int) -> None:
    """Wake the gateways for this user. Call it inside the changing transaction."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, str(user_id)])
    else:
        transaction.on_commit(lambda: woken.send(None, user_id=user_id))


def listening(listener: Listener) -> AbstractAsyncContextManager[Supervision | None]:
    """Return a context that calls `listener` for each wake-up until its exit.

    The value is the supervision of the LISTEN task, or None where there is no task. The entry
    raises DatabaseError.
    """
    return _remote(listener) if config.current().is_postgresql else _local(listener)


@asynccontextmanager
async def _local(listener: Listener) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()

    def hop(user_id: int, **_: object) -> None:
        with suppress(RuntimeError):  # the loop was closed just now
            loop.call_soon_threadsafe(listener, user_id)

    woken.connect(hop, weak=False)
    try:
        yield None
    finally:
        woken.disconnect(hop)


@asynccontextmanager
async def _remote(listener: Listener) -> AsyncIterator[Supervision]:
    """LISTEN on a separate connection, on this loop: a thread would wait for the interpreter."""
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
                        if wake_up.payload.isascii() and wake_up.payload.isdigit():
                            listener(int(wake_up.payload))
            except psycopg.Error as exc:
                log.warning("LISTEN connection lost, reconnecting: %s", type(exc).__name__)
            opened = await _reconnect()
            listener(None)

    async with supervised("listen", keep_listening) as supervision:
        yield supervision


async def _reconnect() -> psycopg.AsyncConnection[Any]:
    """Connect again, however long that takes."""
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
