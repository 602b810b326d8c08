"""Tells waiting clients what has become of their user and password.

A wake-up says only whom it is about. Users are then read, many at once when many were changed, and
each of their connections is brought to where it should be; so it does no harm when wake-ups come
twice.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import islice

from websockets.frames import CloseCode

from protocol.messages import Bye, PasswordChanged, PasswordStatus, Rejected
from protocol.sealing import push_signature
from server import clock, metrics
from server.gateway.connections import Connection, Presence, Registry
from server.gateway.store import Store
from server.gateway.tasks import Tasks
from server.gateway.user_state import MAX_USERS, Place, UserState, UserStates

log = logging.getLogger(__name__)


class Updates:
    """Talks to clients on the server's initiative."""

    def __init__(
        self, registry: Registry, store: Store, states: UserStates, tasks: Tasks, *, gateway: str
    ) -> None:
        """`gateway` is this gateway's name."""
        self._registry = registry
        self._store = store
        self._states = states
        self._tasks = tasks
        self._gateway = gateway
        self._due: dict[int, None] = {}
        """Users to look at, in the order in which they changed."""
        self._later: dict[int, None] = {}
        """Users to look at when nobody is due, because something may have been missed."""
        self._is_looking = False
        self._missed: set[int] = set()

    def wake(self, user_id: int | None) -> None:
        """Something about this user was committed; None: something may have been, about anybody."""
        if user_id is None:
            self._wake_all()
            return
        self._registry.mark_stale(user_id)
        if self._registry.waiting(user_id):
            self._due[user_id] = None
            self._look()

    def sweep(self) -> None:
        """Look after everybody whose old password has ended, and after what failed before."""
        missed, self._missed = self._missed, set()
        for user_id in missed | self._registry.users_past(clock.now()):
            self.wake(user_id)

    def _wake_all(self) -> None:
        self._registry.mark_all_stale()
        self._later.update(dict.fromkeys(self._registry.users()))
        self._look()

    def _look(self) -> None:
        if (self._due or self._later) and not self._is_looking:
            self._is_looking = True
            self._tasks.spawn(self._look_at_all())

    async def _look_at_all(self) -> None:
        """Until nobody is due. What is woken while it reads is read again afterwards."""
        try:
            while queue := self._due or self._later:
                chunk = list(islice(queue, MAX_USERS))
                for user_id in chunk:
                    del queue[user_id]
                try:
                    await self._look_at(chunk)
                except Exception:
                    self._missed.update(chunk)
                    raise
        finally:
            self._is_looking = False
            for queue in (self._due, self._later):
                self._missed.update(queue)
                queue.clear()

    async def _look_at(self, user_ids: Sequence[int]) -> None:
        before = [
            (each, each.serial, user_id)
            for user_id in user_ids
            for each in self._registry.waiting(user_id)
        ]
        states = await self._states.read(user_ids)
        absent: list[Presence] = []
        for each, serial, user_id in before:
            if each.serial == serial and not each.ending:
                self._apply(each, states[user_id], absent)
        if absent:
            await self._store.still_waiting(absent)

    def _apply(self, connection: Connection, state: UserState, absent: list[Presence]) -> None:
        """`absent` gets whom the database does not know to wait, though it does."""
        presence, before = connection.presence, connection.standing
        if presence is None or before is None:
            return
        place = state.places.get(presence.device_pk)
        standing = state.standings.get(before.since)
        if not state.is_active or place is None:
            self._end(connection, Bye(reason="disabled"))
        elif place.is_blocked:
            self._end(connection, Bye(reason="blocked"))
        elif self._waits_elsewhere(presence, place):
            self._end(connection, Bye(reason="superseded"))
        elif standing is None and connection.is_logging_in:
            # It would take this for the answer to its login. The next sweep looks again.
            self._missed.add(presence.user_id)
        elif standing is None:
            self._end(connection, Rejected(reason="expired"))
        else:
            if place.waiting_since is None:
                absent.append(presence)
            connection.standing = standing
            pending = state.pending.get(presence.device_pk, ())
            new = [each for each in pending if each.change_id not in connection.pushed]
            pushed = push(connection, [(each.change_id, each.sealed) for each in new])
            if standing != before and not pushed:
                connection.send(
                    PasswordStatus(
                        password=standing.password,
                        valid_until=standing.valid_until,
                        server_time=clock.now(),
                    )
                )
            for each in new if pushed else ():
                if each.changed_at > presence.waiting_since:  # it waited when that was changed
                    seconds = (clock.now() - each.changed_at).total_seconds()
                    metrics.push_seconds.observe(max(seconds, 0.0))

    def _waits_elsewhere(self, presence: Presence, place: Place) -> bool:
        """Whether the device has logged in again since, here or on another gateway."""
        return place.waiting_since is not None and (
            place.gateway != self._gateway or place.waiting_since != presence.waiting_since
        )

    def _end(self, connection: Connection, message: Bye | Rejected) -> None:
        log.info("a client's login has ended: %s", message.reason)
        superseded = message.reason == "superseded"
        code = CloseCode.NORMAL_CLOSURE if superseded else CloseCode.POLICY_VIOLATION
        connection.end(message, code)


def push(connection: Connection, pending: Sequence[tuple[str, str]]) -> bool:
    """Send what this connection has not been sent since its login; whether there was any."""
    standing = connection.standing
    if standing is None or standing.valid_until is None:
        return False
    unsent = [each for each in pending if each[0] not in connection.pushed]
    for change_id, sealed in unsent:
        connection.pushed |= {change_id}
        metrics.pushes_sent.inc()
        connection.send(
            PasswordChanged(
                change_id=change_id,
                sealed=sealed,
                valid_until=standing.valid_until,
                signature=push_signature(connection.server_key, change_id=change_id, sealed=sealed),
            )
        )
    return bool(unsent)
