"""The connections of one gateway: what is known of each, and who waits for whom."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from websockets.frames import CloseCode

from protocol import messages
from server import metrics
from server.gateway.records import Standing
from server.gateway.transport import Wire

LOGIN_SECONDS = 20
"""How long a login may take."""


class Presence(msgspec.Struct, frozen=True, gc=False):
    """A login that stands: who waits on this connection, since when, and by which password."""

    user_id: int
    device_id: str
    device_pk: int
    waiting_since: datetime


@dataclass(eq=False, slots=True)
class Connection:
    """One client's connection. Used on the gateway's loop only."""

    wire: Wire
    address: str
    presence: Presence | None = None
    standing: Standing | None = None
    """What its password is good for; there exactly when `presence` is."""
    server_key: bytes = field(default=b"", repr=False)
    """Of the verifier that it has logged in by: signs what is pushed to it."""
    pushed: frozenset[str] = frozenset()
    """Changes that it was sent since it last logged in."""
    serial: int = 0
    """Raised by each welcome, so that what was read before it is not applied after it."""
    stale: bool = False
    """Its user has changed since this was last unset."""
    ending: bool = False
    challenged_at: float | None = None
    """When the login under way began, by the loop's clock."""

    @property
    def is_logging_in(self) -> bool:
        """Whether a `rejected` would be taken for the answer to a login under way."""
        now = asyncio.get_running_loop().time()
        return self.challenged_at is not None and now < self.challenged_at + LOGIN_SECONDS

    def send(self, message: messages.ServerMessage) -> None:
        """Send one message; nothing happens when the connection is closing or gone."""
        self.wire.send(messages.encode(message))

    def end(self, message: messages.Bye | messages.Rejected, code: CloseCode) -> None:
        """Say why, and close. Nothing that the client sends from now on counts."""
        self.ending = True
        self.wire.close(code, message.reason, last=messages.encode(message))


class Registry:
    """Finds connections by user and device, and counts them by address."""

    def __init__(self) -> None:
        self._waiting: dict[int, dict[str, Connection]] = {}
        self._logging_in: dict[int, set[Connection]] = {}
        self._by_address: Counter[str] = Counter()
        self._unproven_by_address: Counter[str] = Counter()
        self._all: set[Connection] = set()

    def __len__(self) -> int:
        return len(self._all)

    def everyone(self) -> list[Connection]:
        """All connections, logged in or not."""
        return list(self._all)

    def count(self, address: str, *, unproven: bool = False) -> int:
        """Connections from this address: all, or those that have not logged in yet."""
        return (self._unproven_by_address if unproven else self._by_address)[address]

    def opened(self, connection: Connection) -> None:
        """A connection was made; nobody has logged in on it."""
        self._all.add(connection)
        metrics.connections.inc()
        self._by_address[connection.address] += 1
        self._unproven_by_address[connection.address] += 1

    def closed(self, connection: Connection) -> Presence | None:
        """The connection is gone; what it was, if it was logged in."""
        self._all.discard(connection)
        metrics.connections.dec()
        _subtract(self._by_address, connection.address)
        presence = connection.presence
        if presence is None:
            _subtract(self._unproven_by_address, connection.address)
        self.leave(connection)
        return presence

    def expect(self, connection: Connection, user_id: int) -> None:
        """A login of this user is being written down: wake-ups concern it from now on."""
        connection.stale = False
        self._logging_in.setdefault(user_id, set()).add(connection)

    def unexpect(self, connection: Connection, user_id: int) -> None:
        """That login is over, either way."""
        expected = self._logging_in[user_id]
        expected.discard(connection)
        if not expected:
            del self._logging_in[user_id]

    def join(
        self, connection: Connection, presence: Presence, standing: Standing
    ) -> Connection | None:
        """It waits from now on; the older connection of the same device, if there is one."""
        if connection.presence is None:
            _subtract(self._unproven_by_address, connection.address)
        self.leave(connection)
        connection.presence = presence
        connection.standing = standing
        connection.pushed = frozenset()
        connection.serial += 1
        devices = self._waiting.setdefault(presence.user_id, {})
        older = devices.get(presence.device_id)
        devices[presence.device_id] = connection
        if older is None:
            metrics.waiting.inc()
        return older

    def leave(self, connection: Connection) -> None:
        """It no longer waits, unless a newer one has taken its place anyway."""
        presence = connection.presence
        if presence is None:
            return
        devices = self._waiting.get(presence.user_id, {})
        if devices.get(presence.device_id) is connection:
            del devices[presence.device_id]
            metrics.waiting.dec()
            if not devices:
                del self._waiting[presence.user_id]

    def waiting(self, user_id: int) -> list[Connection]:
        """Who waits for this user."""
        return list(self._waiting.get(user_id, {}).values())

    def users(self) -> list[int]:
        """Everybody for whom somebody waits."""
        return list(self._waiting)

    def mark_all_stale(self) -> None:
        """As `mark_stale`, about everybody."""
        for user_id in self._logging_in:
            self.mark_stale(user_id)

    def mark_stale(self, user_id: int) -> None:
        """The user has changed: logins that are being written down look again afterwards."""
        for connection in self._logging_in.get(user_id, ()):
            connection.stale = True

    def users_past(self, now: datetime) -> set[int]:
        """Users for whom somebody waits by an old password that has ended."""
        return {
            user_id
            for user_id, devices in self._waiting.items()
            for connection in devices.values()
            if connection.standing is not None
            and connection.standing.valid_until is not None
            and connection.standing.valid_until <= now
        }


def _subtract(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
