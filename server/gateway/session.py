"""One connection's conversation: logins, and what a logged-in client reports."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Literal

from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from agent.core.messages import (
    Bye,
    Challenge,
    Device,
    Hello,
    MessageError,
    Notice,
    Proof,
    Rejected,
    UpdateFailed,
    Welcome,
    decode_from_client,
)
from server import clock
from server.gateway.connections import LOGIN_SECONDS, Connection, Presence, Registry
from server.gateway.login import (
    Login,
    LoginError,
    Proven,
    check_device,
    check_key,
    is_too_old,
    username_of,
)
from server.gateway.store import LoggedIn, Store
from server.gateway.throttle import Throttle
from server.gateway.updates import Updates, push

log = logging.getLogger(__name__)

MAX_REFUSALS = 3
"""Refused passwords in a row after which the connection is closed."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one connection, and one address, may ask of a gateway."""

    login_s: float = LOGIN_SECONDS
    """From the upgrade to the first `welcome`."""
    message_burst: int = 60
    messages_per_s: float = 2
    """A connection may send `message_burst` at once, and this many per second in the long run."""
    per_address: int = 5_000
    """Connections from one address: an organisation's PCs may all come through one."""
    unproven_per_address: int = 500
    """Those of them that have not logged in yet."""


@dataclass(frozen=True)
class Services:
    """What all sessions of a gateway share."""

    store: Store
    registry: Registry
    updates: Updates
    throttle: Throttle
    limits: Limits
    console_url: str | None
    min_client_version: str


@dataclass(frozen=True)
class _Attempt:
    """A login between `challenge` and `proof`."""

    login: Login
    username: str
    user_id: int | None
    device: Device
    known_device: bool


class Session:
    """`run` it until the connection is gone."""

    def __init__(self, connection: Connection, services: Services) -> None:
        self._connection = connection
        self._services = services
        self._attempt: _Attempt | None = None
        self._refusals = 0
        loop = asyncio.get_running_loop()
        self._login_by = loop.time() + services.limits.login_s
        self._allowance = float(services.limits.message_burst)
        self._counted_at = loop.time()

    async def run(self) -> None:
        """Talk until the end. Does not raise for anything that the client does."""
        socket = self._connection.socket
        try:
            while not self._connection.ending:
                data = await self._receive()
                if self._connection.ending:
                    return
                if isinstance(data, bytes):
                    await socket.close(CloseCode.UNSUPPORTED_DATA, "binary message")
                    return
                self._count_message()
                await self._handle(data)
        except ConnectionClosed:
            return
        except TimeoutError:
            await socket.close(CloseCode.POLICY_VIOLATION, "login took too long")
        except (MessageError, LoginError) as exc:
            log.info("a client broke the protocol: %s", exc)
            await socket.close(CloseCode.POLICY_VIOLATION, str(exc))
        except Exception:
            log.exception("a connection is given up")
            await socket.close(CloseCode.INTERNAL_ERROR)

    async def _receive(self) -> str | bytes:
        """The next message. Raise TimeoutError when there was no login in time."""
        if self._connection.presence is not None:
            return await self._connection.socket.recv()
        async with asyncio.timeout_at(self._login_by):
            return await self._connection.socket.recv()

    def _count_message(self) -> None:
        limits, now = self._services.limits, asyncio.get_running_loop().time()
        gained = (now - self._counted_at) * limits.messages_per_s
        self._allowance = min(self._allowance + gained, float(limits.message_burst)) - 1
        self._counted_at = now
        if self._allowance < 0:
            raise MessageError("too many messages")

    async def _handle(self, data: str) -> None:
        message = decode_from_client(data.encode())
        presence = self._connection.presence
        if isinstance(message, Hello):
            await self._hello(message)
        elif isinstance(message, Proof):
            await self._proof(message)
        elif presence is None:
            raise MessageError("message before a login")
        elif isinstance(message, Notice):
            await self._services.store.notice(presence.device_pk, message)
        elif isinstance(message, UpdateFailed):
            await self._services.store.update_failed(
                presence.device_pk, message, address=self._connection.address
            )

    async def _hello(self, hello: Hello) -> None:
        if self._attempt is not None:
            raise LoginError("hello while a login is under way")
        if is_too_old(hello.device.version, self._services.min_client_version):
            await self._reject("version")
            return
        username = username_of(hello.scram)
        # The count for the user alone can be judged only when the device is known.
        if await self._is_throttled(username, known_device=True):
            return
        check_device(hello.device)
        known = await self._services.store.known(username, hello.device.id)
        if await self._is_throttled(username, known_device=known.known_device):
            return
        if not known.known_device:
            check_key(hello.device)
        login = Login(hello.scram, known.candidates)
        self._attempt = _Attempt(login, username, known.user_id, hello.device, known.known_device)
        self._connection.challenged_at = asyncio.get_running_loop().time()
        await self._connection.send(Challenge(scram=login.challenge))

    async def _proof(self, proof: Proof) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is None:
            raise LoginError("proof without hello")
        try:
            await self._check(attempt, proof)
        finally:
            self._connection.challenged_at = None

    async def _check(self, attempt: _Attempt, proof: Proof) -> None:
        # Again, because many connections may have got a challenge before the first refusal.
        if await self._is_throttled(attempt.username, known_device=attempt.known_device):
            return
        proven = attempt.login.check(proof.scram)
        if proven is None or attempt.user_id is None:
            self._services.throttle.refused(user=attempt.username, address=self._connection.address)
            await self._refuse()
        else:
            await self._log_in(attempt, attempt.user_id, proven)

    async def _log_in(self, attempt: _Attempt, user_id: int, proven: Proven) -> None:
        connection, services = self._connection, self._services
        before = connection.presence
        same = before is not None and (before.user_id, before.device_id) == (
            user_id,
            attempt.device.id,
        )
        waiting_since = before.waiting_since if before is not None and same else clock.now()
        services.registry.expect(connection, user_id)
        try:
            outcome = await services.store.log_in(
                user_id,
                since=proven.candidate.since,
                device=attempt.device,
                address=connection.address,
                waiting_since=waiting_since,
            )
        finally:
            services.registry.unexpect(connection, user_id)
        if outcome == "credentials":
            await self._refuse()
        elif not isinstance(outcome, LoggedIn):
            await self._reject(outcome)
        elif connection.ending:
            await services.store.gone(outcome.device_pk, waiting_since)
        else:
            services.throttle.accepted(user=attempt.username, address=connection.address)
            presence = Presence(user_id, attempt.device.id, outcome.device_pk, waiting_since)
            await self._welcome(presence, outcome, proven.server_final)
            if before is not None and not same:
                await services.store.gone(before.device_pk, before.waiting_since)

    async def _welcome(self, presence: Presence, outcome: LoggedIn, server_final: str) -> None:
        connection, services = self._connection, self._services
        self._refusals = 0
        older = services.registry.join(connection, presence, outcome.standing)
        if older is not None and older is not connection:
            older.ending = True
            services.updates.spawn(older.end(Bye(reason="superseded"), CloseCode.NORMAL_CLOSURE))
        log.info(
            "user %d logged in on device %d by the %s password",
            presence.user_id,
            presence.device_pk,
            outcome.standing.password,
        )
        await connection.send(
            Welcome(
                scram=server_final,
                password=outcome.standing.password,
                valid_until=outcome.standing.valid_until,
                server_time=clock.now(),
                console_url=services.console_url,
            )
        )
        await push(connection, outcome.pending)
        if connection.stale:
            services.updates.wake(presence.user_id)

    async def _is_throttled(self, username: str, *, known_device: bool) -> bool:
        wait_s = self._services.throttle.wait_s(
            user=username, address=self._connection.address, known_device=known_device
        )
        if wait_s:
            await self._reject("throttled", retry_after_s=wait_s)
        return bool(wait_s)

    async def _refuse(self) -> None:
        """Say that user or password is wrong; the connection goes on, a few times."""
        self._refusals += 1
        if self._refusals >= MAX_REFUSALS:
            await self._reject("credentials")
        else:
            await self._connection.send(Rejected(reason="credentials"))

    async def _reject(
        self,
        reason: Literal["credentials", "expired", "disabled", "blocked", "throttled", "version"],
        *,
        retry_after_s: int | None = None,
    ) -> None:
        """Say why, and close."""
        log.info("a login was refused: %s", reason)
        await self._connection.end(
            Rejected(reason=reason, retry_after_s=retry_after_s), CloseCode.POLICY_VIOLATION
        )
