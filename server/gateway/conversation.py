"""What is said on a connection: logins, and what a logged-in client reports.

A message that has to wait for the database holds up those behind it on the same connection.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import dataclass
from typing import Literal, get_args

from websockets.frames import CloseCode

from protocol.messages import (
    Bye,
    Challenge,
    ClientMessage,
    Hello,
    MessageError,
    Notice,
    PasswordKind,
    Proof,
    Rejected,
    UpdateFailed,
    Welcome,
    decode_from_client,
)
from protocol.scram import ClientFirst, ScramError, ServerLogin
from protocol.sealing import SealError, check_device_id, check_public_key
from server import clock, metrics
from server.gateway.change_notifier import ChangeNotifier, push
from server.gateway.connection import ClientConnection, ConnectionEnded, WaitingDevice
from server.gateway.limits import MAX_REFUSALS
from server.gateway.login import LoginError, is_too_old
from server.gateway.records import RecordedLogin, VerifiedProof
from server.gateway.registry import Registry
from server.gateway.store import Store, Unavailable
from server.gateway.throttle import Throttle

log = logging.getLogger(__name__)

NEW_DEVICE_SECONDS = 3600
"""How long a client waits that is one device too many for its user."""

_accepted = {kind: metrics.logins.labels(kind) for kind in get_args(PasswordKind)}
_Reason = Literal["credentials", "expired", "disabled", "blocked", "throttled", "version"]


@dataclass(frozen=True, kw_only=True)
class Conversations:
    """Handle the messages of all connections of a gateway."""

    store: Store
    registry: Registry
    notifier: ChangeNotifier
    throttle: Throttle
    console_url: str | None
    min_client_version: str

    async def converse(self, connection: ClientConnection) -> None:
        """Handle the messages that have come; close the connection when one breaks the protocol.

        Raise ConnectionEnded when it ends during a login.
        """
        try:
            while (text := connection.next_text()) is not None:
                await self._handle(connection, decode_from_client(text))
        except (MessageError, ScramError, SealError, LoginError) as exc:
            connection.fail(CloseCode.POLICY_VIOLATION, str(exc))
        except Unavailable:
            connection.send_away()
        except ConnectionEnded:
            raise
        except Exception:
            log.exception("connection of %s is closed after an error", connection.address)
            connection.close(CloseCode.INTERNAL_ERROR, "")

    async def _handle(self, connection: ClientConnection, message: ClientMessage) -> None:
        if isinstance(message, Proof):
            raise LoginError("proof without hello")
        if not isinstance(message, Hello):
            await self._report(connection, message)
            return
        connection.begin_login()
        try:
            await self._log_in(connection, message)
        finally:
            if connection.device is not None:
                connection.enter_standby()

    async def _log_in(self, connection: ClientConnection, hello: Hello) -> None:
        """Take one login from `hello` to `welcome` or `rejected`."""
        started_at = asyncio.get_running_loop().time()
        device, address = hello.device, connection.address
        if is_too_old(device.version, self.min_client_version):
            self._reject(connection, None, "version")
            return
        first = ClientFirst.parse(hello.scram)
        check_device_id(device_id=device.id, public_key=device.public_key)

        found = await self.store.look_up(first.user or "", device.id)
        known_device = device.id if found.known_device else None
        user_id = found.user_id
        if wait_s := self.throttle.wait_s(
            user=first.user, address=address, known_device=known_device
        ):
            self._reject(connection, user_id, "throttled", retry_after_s=wait_s)
            return
        if known_device is None:
            check_public_key(device.public_key)

        verifiers = [each.verifier for each in found.candidates]
        login = ServerLogin(first, verifiers, nonce=secrets.token_urlsafe(24))
        connection.send(Challenge(scram=login.challenge))
        proof = await self._receive_proof(connection)

        # Again, because many connections may have got a challenge before the first refusal.
        if wait_s := self.throttle.wait_s(
            user=first.user, address=address, known_device=known_device
        ):
            self._reject(connection, user_id, "throttled", retry_after_s=wait_s)
            return
        fitting = login.check(proof.scram)
        if fitting is None or user_id is None or first.user is None:
            self.throttle.on_refused(user=first.user, address=address, known_device=known_device)
            self._refuse(connection, user_id)
            return
        index, server_final = fitting
        candidate = found.candidates[index]

        before = connection.device
        is_same = before is not None and (before.user_id, before.device_id) == (user_id, device.id)
        waiting_since = before.waiting_since if before is not None and is_same else clock.now()
        self.registry.expect(connection, user_id)
        try:
            outcome = await self.store.log_in(
                VerifiedProof(user_id, candidate.since, device, address, waiting_since)
            )
        finally:
            self.registry.unexpect(connection, user_id)
        if outcome == "credentials":
            self._refuse(connection, user_id)
            return
        if not isinstance(outcome, RecordedLogin):
            retry_after_s = NEW_DEVICE_SECONDS if outcome == "throttled" else None
            self._reject(connection, user_id, outcome, retry_after_s=retry_after_s)
            return
        if connection.is_closing:
            self.store.release(outcome.device_pk, waiting_since)
            return

        self.throttle.on_accepted(user=first.user, address=address, known_device=known_device)
        connection.server_key = candidate.verifier.server_key
        waiting = WaitingDevice(user_id, device.id, outcome.device_pk, waiting_since)
        self._welcome(connection, waiting, outcome, server_final)
        metrics.login_seconds.observe(asyncio.get_running_loop().time() - started_at)
        if before is not None and before.device_pk != outcome.device_pk:
            self.store.release(before.device_pk, before.waiting_since)

    async def _receive_proof(self, connection: ClientConnection) -> Proof:
        """Wait for the proof; what a client that waits reports may come before it."""
        while not isinstance(message := await connection.receive(), Proof):
            if isinstance(message, Hello):
                raise LoginError("hello while a login is under way")
            await self._report(connection, message)
        return message

    def _welcome(
        self,
        connection: ClientConnection,
        device: WaitingDevice,
        outcome: RecordedLogin,
        server_final: str,
    ) -> None:
        connection.refusals = 0
        older = self.registry.join(connection, device, outcome.accepted)
        connection.enter_standby()
        if older is not None and older is not connection:
            older.end(Bye(reason="superseded"), CloseCode.NORMAL_CLOSURE)
        _accepted[outcome.accepted.password].inc()
        log.debug(  # not at INFO: ten thousand come back at once
            "user %d logged in on device %d from %s with the %s password",
            device.user_id,
            device.device_pk,
            connection.address,
            outcome.accepted.password,
        )
        connection.send(
            Welcome(
                scram=server_final,
                password=outcome.accepted.password,
                valid_until=outcome.accepted.valid_until,
                server_time=clock.now(),
                console_url=self.console_url,
            )
        )
        push(connection, outcome.pending)
        if connection.has_changed:
            self.notifier.wake(device.user_id)

    async def _report(self, connection: ClientConnection, report: Notice | UpdateFailed) -> None:
        """Write a client's report. It is lost, and the client stays, when the database is away."""
        device = connection.device
        if device is None:
            raise MessageError("message before a login")
        try:
            if isinstance(report, Notice):
                await self.store.notice(device.device_pk, report)
            else:
                metrics.pushes_failed.labels(report.reason).inc()
                await self.store.update_failed(device.device_pk, report, address=connection.address)
        except Unavailable:
            log.warning(
                "report of user %d from %s is lost: the database is away",
                device.user_id,
                connection.address,
            )

    def _refuse(self, connection: ClientConnection, user_id: int | None) -> None:
        """Say that user or password is wrong; the connection goes on, a few times."""
        connection.refusals += 1
        if connection.refusals >= MAX_REFUSALS:
            self._reject(connection, user_id, "credentials")
            return
        _log_refusal(connection, user_id, "credentials")
        connection.send(Rejected(reason="credentials"))

    def _reject(
        self,
        connection: ClientConnection,
        user_id: int | None,
        reason: _Reason,
        *,
        retry_after_s: int | None = None,
    ) -> None:
        """Say why the login is refused, and close."""
        _log_refusal(connection, user_id, reason)
        rejected = Rejected(reason=reason, retry_after_s=retry_after_s)
        connection.end(rejected, CloseCode.POLICY_VIOLATION)


def _log_refusal(connection: ClientConnection, user_id: int | None, reason: str) -> None:
    metrics.logins.labels(reason).inc()
    who = "an unknown user" if user_id is None else f"user {user_id}"
    log.info("login of %s from %s is refused: %s", who, connection.address, reason)
