"""Find connections by user and device, and count them by address."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import islice

from server import metrics
from server.addresses import counted_address
from server.gateway.connection import ClientConnection
from server.gateway.queries import AcceptedLogin, WaitingDevice

OPENING, UNPROVEN, PROVEN = "opening", "unproven", "proven"
"""Kinds of connections: no request yet, no accepted login yet, or at least one accepted login."""
LOOKED_AT = 50
"""How many of an address's oldest connections are checked for one that may give way. Some of them
show a code or wait for the database, and stay."""


class Registry:
    """All connections of one gateway. Used on its loop only."""

    def __init__(self) -> None:
        self.connections: set[ClientConnection] = set()
        self._waiting: dict[int, dict[str, ClientConnection]] = {}
        """By user and device id."""
        self._logging_in: dict[int, set[ClientConnection]] = {}
        """By user: connections whose login is being written."""
        self._counted: dict[tuple[str, str], dict[ClientConnection, None]] = {}
        """Connections by kind and address, the oldest first."""
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    # --- counts by address, and the life of a connection

    def count(self, kind: str, address: str) -> int:
        """Return how many connections of an address are OPENING, UNPROVEN or PROVEN."""
        return len(self._counted.get((kind, counted_address(address)), ()))

    def make_room(self, kind: str, address: str) -> bool:
        """Close an address's oldest connection that has kept the gateway waiting too long.

        Return whether there was such a connection.
        """
        counted = self._counted.get((kind, counted_address(address)), ())
        for connection in islice(counted, LOOKED_AT):
            if connection.keeps_waiting():
                self._count_as(connection, None)
                connection.give_way()
                return True
        return False

    def only_address(self) -> str | None:
        """Return the address of all upgraded connections; None unless there is exactly one."""
        addresses = {address for kind, address in self._counted if kind != OPENING}
        return addresses.pop() if len(addresses) == 1 else None

    def add(self, connection: ClientConnection) -> None:
        """Count a new connection by its `peer`."""
        self.connections.add(connection)
        self._is_empty.clear()
        self._count_as(connection, (OPENING, counted_address(connection.peer)))

    def upgrade(self, connection: ClientConnection, address: str) -> None:
        """Set the client's address, and count the connection by it from now on."""
        connection.address = address
        self._count_as(connection, (UNPROVEN, counted_address(address)))
        metrics.connections.inc()

    def remove(self, connection: ClientConnection) -> None:
        if connection not in self.connections:
            return
        self.connections.discard(connection)
        self._count_as(connection, None)
        if connection.address:
            metrics.connections.dec()
            self._leave(connection)
        if not self.connections:
            self._is_empty.set()

    def _count_as(self, connection: ClientConnection, key: tuple[str, str] | None) -> None:
        if (before := connection.counted_as) is not None:
            together = self._counted[before]
            del together[connection]
            if not together:
                del self._counted[before]
        connection.counted_as = key
        if key is not None:
            self._counted.setdefault(key, {})[connection] = None

    async def wait_empty(self) -> None:
        await self._is_empty.wait()

    # --- logins

    @contextmanager
    def noting_changes(self, connection: ClientConnection, user_id: int) -> Iterator[None]:
        """Set the connection's `has_changed` if the user changes while the login is written."""
        connection.has_changed = False
        together = self._logging_in.setdefault(user_id, set())
        together.add(connection)
        try:
            yield
        finally:
            together.discard(connection)
            if not together:
                del self._logging_in[user_id]

    def mark_changed(self, user_id: int | None) -> None:
        """Note a change of a user, or of any user, for the logins that are being written."""
        for each in self._logging_in if user_id is None else [user_id]:
            for connection in self._logging_in.get(each, ()):
                connection.has_changed = True

    def join(
        self, connection: ClientConnection, device: WaitingDevice, accepted: AcceptedLogin
    ) -> ClientConnection | None:
        """Note that a device waits on a connection. Return its older connection, or None."""
        if connection.device is None and connection.counted_as is not None:
            self._count_as(connection, (PROVEN, connection.counted_as[1]))
        self._leave(connection)
        connection.device = device
        connection.accepted = accepted
        connection.pushed = frozenset()
        connection.serial += 1
        devices = self._waiting.setdefault(device.user_id, {})
        older = devices.get(device.device_id)
        devices[device.device_id] = connection
        if older is None:
            metrics.waiting.inc()
        return older

    def _leave(self, connection: ClientConnection) -> None:
        """Undo `join`, unless a newer connection has taken the device's place."""
        device = connection.device
        if device is None:
            return
        devices = self._waiting.get(device.user_id, {})
        if devices.get(device.device_id) is connection:
            del devices[device.device_id]
            metrics.waiting.dec()
            if not devices:
                del self._waiting[device.user_id]

    def waiting(self, user_id: int) -> list[ClientConnection]:
        return list(self._waiting.get(user_id, {}).values())

    def users(self) -> list[int]:
        """Return all users with a waiting client."""
        return list(self._waiting)

    def users_past(self, now: datetime) -> set[int]:
        """Return the users with a waiting client whose password has expired at `now`."""
        return {
            user_id
            for user_id, devices in self._waiting.items()
            for connection in devices.values()
            if connection.accepted is not None
            and connection.accepted.ends_at is not None
            and connection.accepted.ends_at <= now
        }
