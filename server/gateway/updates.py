"""Tells waiting clients what has become of their user and password.

A wake-up says only whom it is about. The user is then read once, and each of the user's
connections is brought to where it should be; so it does no harm when wake-ups come twice.
"""

from __future__ import annotations

import logging

from websockets.frames import CloseCode

from agent.core.messages import Bye, PasswordChanged, PasswordStatus, Rejected
from server import clock
from server.gateway.connections import Connection, Registry
from server.gateway.store import Store, UserState
from server.gateway.tasks import Tasks

log = logging.getLogger(__name__)


class Updates:
    """Talks to clients on the server's initiative."""

    def __init__(self, registry: Registry, store: Store, tasks: Tasks) -> None:
        self._registry = registry
        self._store = store
        self._tasks = tasks
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
            self._tasks.spawn(self._refresh(user_id))

    def sweep(self) -> None:
        """Look after everybody whose old password has ended, and after what failed before."""
        missed, self._missed = self._missed, set()
        for user_id in missed | self._registry.users_past(clock.now()):
            self.wake(user_id)

    async def _refresh(self, user_id: int) -> None:
        try:
            while True:
                self._again.discard(user_id)
                before = [(each, each.serial) for each in self._registry.waiting(user_id)]
                state = await self._store.user_state(user_id)
                for each, serial in before:
                    if each.serial == serial and not each.ending:
                        self._apply(each, state)
                if user_id not in self._again:
                    return
        except Exception:
            self._missed.add(user_id)
            raise
        finally:
            self._refreshing.discard(user_id)

    def _apply(self, connection: Connection, state: UserState) -> None:
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
            pushed = push(connection, state.pending.get(presence.device_pk, ()))
            if standing != before and not pushed:
                connection.send(
                    PasswordStatus(
                        password=standing.password,
                        valid_until=standing.valid_until,
                        server_time=clock.now(),
                    )
                )

    def _end(self, connection: Connection, message: Bye | Rejected) -> None:
        log.info("a client's login has ended: %s", message.reason)
        connection.end(message, CloseCode.POLICY_VIOLATION)


def push(connection: Connection, pending: tuple[tuple[str, str], ...]) -> bool:
    """Send what this connection has not been sent since its login; whether there was any."""
    standing = connection.standing
    if standing is None or standing.valid_until is None:
        return False
    unsent = [each for each in pending if each[0] not in connection.pushed]
    for change_id, sealed in unsent:
        connection.pushed |= {change_id}
        connection.send(
            PasswordChanged(change_id=change_id, sealed=sealed, valid_until=standing.valid_until)
        )
    return bool(unsent)
