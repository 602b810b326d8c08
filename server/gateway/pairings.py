"""Give new PCs a code to show, and send them the password that a user seals in the console.

A PC and its code stay here from the PC's `pair` to the end of its connection. Once a second, one
query asks what the console has sealed for all the codes.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import IntegrityError
from websockets.frames import CloseCode

from protocol.messages import CODE_CHARS, Device, MessageError, Paired, PairingCode, Rejected
from protocol.pairing import CODE_LENGTH, CODE_SECONDS
from protocol.sealing import check_device_id, check_public_key
from protocol.versions import is_older
from server import clock, metrics
from server.addresses import counted_address
from server.config import Config
from server.console.models import Pairing
from server.gateway import records
from server.gateway.batcher import Unavailable
from server.gateway.connection import CLOSING, ClientConnection, ConnectionEnded
from server.gateway.store import Store
from server.gateway.throttle import Window

log = logging.getLogger(__name__)

POLL_SECONDS = 1
MAX_OPEN, MAX_OPEN_PER_ADDRESS = 500, 10
"""Most codes that are shown at one time: of the gateway, and for PCs of one address."""
MAX_NEW, NEW_WITHIN_SECONDS = 30, 3600
"""Most new codes for PCs of one address within this time."""


@dataclass(eq=False)
class _OpenCode:
    """A code that a PC shows, or will show once it is in the database."""

    connection: ClientConnection
    counted_as: str
    expires_at: datetime
    is_shown: bool = False


class Pairings:
    """The codes of one gateway. Used on its loop only."""

    def __init__(self, store: Store, settings: Config) -> None:
        self._store = store
        self._settings = settings
        self._made = Window(MAX_NEW, NEW_WITHIN_SECONDS)
        self._open: dict[str, _OpenCode] = {}
        """By code, the oldest first."""
        self._delivered: set[str] = set()
        """Delivered codes whose rows are not updated yet."""
        self._ended: set[str] = set()
        """Ended codes whose rows are not deleted yet; rows of delivered codes stay."""
        self._is_away = False

    async def pair(self, connection: ClientConnection, device: Device) -> None:
        """Give a new PC a code, and let it wait for a password until its connection ends.

        Raise ConnectionEnded at the end; SealError for an unusable key; MessageError when the PC
        sends another message; Unavailable.
        """
        if is_older(device.version, self._settings.min_client_version):
            newest = self._settings.newest_client
            _end(connection, Rejected(reason="version", newest=newest))
            return
        counted_as = counted_address(connection.address)
        if wait_s := self._wait_s(counted_as):
            _end(connection, Rejected(reason="throttled", retry_after_s=wait_s))
            return
        check_device_id(device_id=device.id, public_key=device.public_key)
        check_public_key(device.public_key)
        self._made.add(counted_as)
        expires_at = clock.now() + timedelta(seconds=CODE_SECONDS)
        new = _OpenCode(connection, counted_as, expires_at)
        while (code := await self._open_code(new, device)) is None:
            if connection.stage == CLOSING:
                raise ConnectionEnded
        try:
            new.is_shown = True
            metrics.pairings.labels("begun").inc()
            log.info("a new PC at %s shows a code", connection.address)
            connection.send(PairingCode(code=code, expires_in_s=CODE_SECONDS))
            connection.enter_standby()
            await connection.receive()
            raise MessageError("message while a code is shown")
        finally:
            self._ended.add(code)
            del self._open[code]

    async def poll_for_ever(self) -> None:
        """Poll once a second. A poll also does the work of failed polls before it."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self.poll()

    async def poll(self) -> None:
        """Deliver sealed passwords, end expired codes, and update or delete the rows."""
        self._made.sweep()
        shown = {code: each for code, each in self._open.items() if each.is_shown}
        over = [each for each in shown.values() if each.expires_at <= clock.now()]
        try:
            found = await self._sync(list(shown))
            # A row is gone when its user was deleted, or others took this gateway for dead.
            over += [each for code, each in shown.items() if code not in found]
            for code, row in found.items():
                self._deliver(code, shown[code].connection, row)
            await self._sync([])
            self._is_away = False
        except Unavailable:
            if not self._is_away:
                log.warning("PCs that show a code have to wait: the database is away")
            self._is_away = True
        for each in over:
            _end(each.connection, Rejected(reason="expired"))

    async def _open_code(self, new: _OpenCode, device: Device) -> str | None:
        """Write a new code for a PC and return the code; None when another PC has the same code."""
        if (code := _new_code()) in self._open:
            return None
        self._open[code] = new
        row = Pairing(
            code=code,
            device_id=device.id,
            public_key=device.public_key,
            address=new.connection.address,
            expires_at=new.expires_at,
            gateway=self._store.name,
            **records.labels_of(device),
        )
        try:
            await self._store.open_pairing(row)
        except BaseException as exc:
            del self._open[code]
            if isinstance(exc, IntegrityError):  # the other PC is on another gateway
                return None
            raise
        return code

    def _wait_s(self, counted_as: str) -> int:
        """Return the seconds until another code may be made for an address; 0 is now."""
        all_open = list(self._open.values())
        same = [each for each in all_open if each.counted_as == counted_as]
        wait_s = self._made.wait_s(counted_as)
        for codes, most in ((all_open, MAX_OPEN), (same, MAX_OPEN_PER_ADDRESS)):
            if len(codes) >= most:
                left = codes[0].expires_at - clock.now()
                wait_s = max(wait_s, math.ceil(left.total_seconds()), POLL_SECONDS)
        return wait_s

    async def _sync(self, codes: list[str]) -> dict[str, records.OpenPairing]:
        """Write which codes were delivered or have ended, and return the rows of `codes`."""
        delivered, ended = frozenset(self._delivered), frozenset(self._ended)
        if not (codes or delivered or ended):
            return {}
        found = await self._store.write(
            records.sync_pairings, codes, delivered=delivered, ended=ended
        )
        self._delivered -= delivered
        self._ended -= ended
        return found

    def _deliver(self, code: str, connection: ClientConnection, row: records.OpenPairing) -> None:
        """Send the PC its sealed password, if the row has one."""
        if row.username is None or connection.stage == CLOSING:
            return
        connection.send(Paired(change_id=row.change_id, user=row.username, sealed=row.sealed))
        connection.close(CloseCode.NORMAL_CLOSURE, "")
        self._delivered.add(code)
        metrics.pairings.labels("delivered").inc()
        log.info("a new PC at %s has got the password of user %d", connection.address, row.user_id)


def _new_code() -> str:
    return "".join(secrets.choice(CODE_CHARS) for _ in range(CODE_LENGTH))


def _end(connection: ClientConnection, answer: Rejected) -> None:
    """Send the reason why the PC gets no password, and close."""
    if connection.stage != CLOSING:
        metrics.pairings.labels(answer.reason).inc()
        log.info("a new PC at %s gets no password: %s", connection.address, answer.reason)
        connection.end(answer, CloseCode.POLICY_VIOLATION)
