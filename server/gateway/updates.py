"""Tells waiting clients what has become of their user and password.

A wake-up says only whom it is about. The user is then read once, and each of the user's
connections is brought to where it should be; so it does no harm when wake-ups come twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from agent.core.messages import Bye, PasswordChanged, PasswordStatus, Rejected
from server import clock
from server.gateway.connections import Connection, Registry
from server.gateway.store import Store, UserState

log = logging.getLogger(__name__)


class Updates:
    """Owns the tasks that talk to clients on the server's initiative."""

    def __init__(self, registry: Registry, store: Store) -> None:
        self._registry = registry
        self._store = store
        self._tasks: set[asyncio.Task[None]] = set()
        self._refreshing: set[int] = set()
        self._again: set[int] = set()
        self._missed: set[int] = set()

    def wake(self, user_id: int) -> None:
        """Something about this user was committed."""
        self._registry.mark_stale(user_id)
        if user_id in self._refreshing:
            self._again.add(user_id)
        elif self._registry.waiting(user_id):
            self._refreshing.add(user_id)
            self.spawn(self._refresh(user_id))

    def sweep(self) -> None:
        """Look after everybody whose old password has ended, and after what failed before."""
        missed, self._missed = self._missed, set()
        for user_id in missed | self._registry.users_past(clock.now()):
            self.wake(user_id)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` beside everything else; `drain` waits for it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def drain(self) -> None:
        """Wait until nothing runs any more."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            log.error("an update of clients failed", exc_info=exc)

    async def _refresh(self, user_id: int) -> None:
        try:
            while True:
                self._again.discard(user_id)
                before = [(each, each.serial) for each in self._registry.waiting(user_id)]
                state = await self._store.user_state(user_id)
                await asyncio.gather(
                    *(
                        self._apply(each, state)
                        for each, serial in before
                        if each.serial == serial and not each.ending
                    )
                )
                if user_id not in self._again:
                    return
        except Exception:
            self._missed.add(user_id)
            raise
        finally:
            self._refreshing.discard(user_id)

    async def _apply(self, connection: Connection, state: UserState) -> None:
        presence, before = connection.presence, connection.standing
        if presence is None or before is None:
            return
        standing = state.standings.get(before.since)
        if not state.is_active:
            self._end(connection, Bye(reason="disabled"))
        elif presence.device_pk in state.blocked:
            self._end(connection, Bye(reason="blocked"))
        elif standing is None and connection.is_logging_in:
            # It would take this for the answer to its login. The next sweep looks again.
            self._missed.add(presence.user_id)
        elif standing is None:
            self._end(connection, Rejected(reason="expired"))
        else:
            connection.standing = standing
            try:
                pushed = await push(connection, state.pending.get(presence.device_pk, ()))
                if standing != before and not pushed:
                    await connection.send(
                        PasswordStatus(
                            password=standing.password,
                            valid_until=standing.valid_until,
                            server_time=clock.now(),
                        )
                    )
            except ConnectionClosed:
                log.debug("a connection closed before it could be told")

    def _end(self, connection: Connection, message: Bye | Rejected) -> None:
        connection.ending = True
        log.info("a client's login has ended: %s", message.reason)
        self.spawn(connection.end(message, CloseCode.POLICY_VIOLATION))


async def push(connection: Connection, pending: tuple[tuple[str, str], ...]) -> bool:
    """Send what this connection has not been sent since its login; whether there was any."""
    standing = connection.standing
    if standing is None or standing.valid_until is None:
        return False
    unsent = [each for each in pending if each[0] not in connection.pushed]
    for change_id, sealed in unsent:
        connection.pushed.add(change_id)
        await connection.send(
            PasswordChanged(change_id=change_id, sealed=sealed, valid_until=standing.valid_until)
        )
    return bool(unsent)
