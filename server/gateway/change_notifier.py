"""Tell waiting clients about changes of their user and password.

A wake-up carries a user's number and nothing else. The notifier then reads the states of this
user's devices, for many users at once, and sends each connection only what is new for it. So a
second wake-up for the same change does no harm.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from itertools import islice

from django.db import DatabaseError
from websockets.frames import CloseCode

from protocol.messages import Bye, PasswordChanged, PasswordStatus, Rejected
from protocol.sealing import push_signature
from server import clock, metrics
from server.gateway import records
from server.gateway.batcher import Unavailable
from server.gateway.connection import CLOSING, LOGGING_IN, ClientConnection
from server.gateway.queries import DeviceState, PendingPush, WaitingDevice
from server.gateway.registry import Registry
from server.gateway.store import Store

log = logging.getLogger(__name__)

MAX_USERS = 200
"""Most users of one statement, so that it delays neither the loop nor the database."""


class ChangeNotifier:
    """Read the states of woken users from the database, and tell their connections."""

    def __init__(self, registry: Registry, store: Store) -> None:
        self._registry = registry
        self._store = store
        self._woken: dict[int, None] = {}
        """Users to read, in the order in which they changed."""
        self._later: dict[int, None] = {}
        """Users to read after `_woken`, because a wake-up may have been lost."""
        self._missed: set[int] = set()
        """Users to read at the next sweep, because reading them has failed."""
        self._task: asyncio.Task[None] | None = None

    def wake(self, user_id: int | None) -> None:
        """Handle the change of a user; None means that any user may have changed."""
        self._registry.mark_changed(user_id)
        if user_id is None:
            self._later.update(dict.fromkeys(self._registry.users()))
        elif self._registry.waiting(user_id):
            self._woken[user_id] = None
        if (self._woken or self._later) and self._task is None:
            self._task = asyncio.create_task(self._notify_all())

    def sweep(self) -> None:
        """Wake users whose password has expired, and users that could not be read."""
        missed, self._missed = self._missed, set()
        for user_id in missed | self._registry.users_past(clock.now()):
            self.wake(user_id)

    async def drain(self) -> None:
        """Wait until all users that were woken are read."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _notify_all(self) -> None:
        """Handle users until none is left. A user who is woken while being read is read again."""
        try:
            while queue := self._woken or self._later:
                chunk = list(islice(queue, MAX_USERS))
                for user_id in chunk:
                    del queue[user_id]
                try:
                    await self._notify(chunk)
                except Exception:
                    self._missed.update(chunk)
                    raise
        except (DatabaseError, Unavailable):
            log.warning("changes could not be read: the database is away; the next sweep retries")
        except Exception:
            log.exception("changes could not be sent; the next sweep retries")
        finally:
            self._task = None
            for queue in (self._woken, self._later):
                self._missed.update(queue)
                queue.clear()

    async def _notify(self, user_ids: Sequence[int]) -> None:
        before = [
            (connection, connection.serial, device)
            for user_id in user_ids
            for connection in self._registry.waiting(user_id)
            if (device := connection.device) is not None
        ]
        asked = [(device.user_id, device.device_id) for _, _, device in before]
        states = await self._store.read_states(asked)
        cleared: list[WaitingDevice] = []
        for (connection, serial, device), state in zip(before, states, strict=True):
            if connection.serial == serial and connection.stage != CLOSING:
                self._apply(connection, device, state, cleared)
        if cleared:
            await self._store.write(records.restore_waiting, cleared, gateway=self._store.name)

    def _apply(
        self,
        connection: ClientConnection,
        device: WaitingDevice,
        state: DeviceState | None,
        cleared: list[WaitingDevice],
    ) -> None:
        """Send a connection what is new for it.

        Add its device to `cleared` when the database no longer says that the device waits.
        """
        before = connection.accepted
        if before is None:
            return
        accepted = state.accepts(before.since) if state else None
        here = (self._store.name, device.waiting_since)
        if state is None or not state.is_active:
            _end(connection, device, Bye(reason="disabled"))
        elif state.device_pk is None:  # removed in the console: the client logs in as a new PC
            _end(connection, device, Bye(reason="shutting_down"))
        elif state.is_blocked:
            _end(connection, device, Bye(reason="blocked"))
        elif state.waiting_since and (state.gateway, state.waiting_since) != here:
            # The device has logged in again since, here or on another gateway.
            connection.end(Bye(reason="superseded"), CloseCode.NORMAL_CLOSURE)
        elif accepted is None and connection.stage == LOGGING_IN:
            # The client would take `rejected` for the answer to its login. The next sweep retries.
            self._missed.add(device.user_id)
        elif accepted is None:
            _end(connection, device, Rejected(reason="expired"))
        else:
            if state.waiting_since is None:
                cleared.append(device)
            connection.accepted = accepted
            pushed = push(connection, state.pending or ())
            if accepted != before and not pushed:
                connection.send(
                    PasswordStatus(
                        password=accepted.password,
                        valid_until=accepted.valid_until,
                        server_time=clock.now(),
                    )
                )
            for each in pushed:
                if each.pushed_at > device.waiting_since:  # the device waited at that time
                    seconds = (clock.now() - each.pushed_at).total_seconds()
                    metrics.push_seconds.observe(max(seconds, 0.0))


def _end(connection: ClientConnection, device: WaitingDevice, message: Bye | Rejected) -> None:
    user_id, address = device.user_id, connection.address
    log.info("connection of user %d from %s is closed: %s", user_id, address, message.reason)
    connection.end(message, CloseCode.POLICY_VIOLATION)


def push(connection: ClientConnection, pending: Sequence[PendingPush]) -> list[PendingPush]:
    """Send the pushes that were not sent since the last login, and return them."""
    accepted = connection.accepted
    if accepted is None or accepted.valid_until is None:
        return []
    unsent = [each for each in pending if each.sealed not in connection.pushed]
    for each in unsent:
        connection.pushed |= {each.sealed}
        metrics.pushes_sent.inc()
        content = {"change_id": each.change_id, "sealed": each.sealed}
        signature = push_signature(connection.server_key, **content)
        connection.send(
            PasswordChanged(**content, valid_until=accepted.valid_until, signature=signature)
        )
    return unsent
