"""Handle a connection's messages: logins and reports. `pairings.py` serves new PCs with a code.

While a message waits for the database, later messages of the same connection wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import dataclass
from typing import get_args

from websockets.frames import CloseCode

from protocol import messages
from protocol.messages import Rejected
from protocol.scram import ClientFirst, ScramError, ServerLogin
from protocol.sealing import SealError, check_device_id, check_public_key
from protocol.versions import is_older
from server import clock, metrics
from server.config import Config
from server.gateway import records
from server.gateway.batcher import Unavailable
from server.gateway.change_notifier import ChangeNotifier, push
from server.gateway.connection import CLOSING, ClientConnection, ConnectionEnded
from server.gateway.pairings import Pairings
from server.gateway.queries import WaitingDevice
from server.gateway.registry import Registry
from server.gateway.store import Store
from server.gateway.throttle import Throttle

log = logging.getLogger(__name__)

MAX_REFUSALS = 3
"""Refused passwords in a row after which the connection is closed."""
NEW_DEVICE_SECONDS = 3600
"""Seconds until a client may retry when its user has added too many devices."""

_accepted = {kind: metrics.logins.labels(kind) for kind in get_args(messages.PasswordKind)}


class Refused(Exception):
    """Raised to refuse a login with `answer`. `user_id` is None while the user is not known."""

    def __init__(self, user_id: int | None, answer: Rejected) -> None:
        self.user_id = user_id
        self.answer = answer


@dataclass(frozen=True, kw_only=True)
class Conversations:
    """Handle the messages of all connections of a gateway."""

    settings: Config
    store: Store
    registry: Registry
    notifier: ChangeNotifier
    pairings: Pairings
    throttle: Throttle

    async def converse(self, connection: ClientConnection) -> None:
        """Handle the messages that have come; close the connection when one breaks the protocol."""
        try:
            while (text := connection.next_text()) is not None:
                await self._handle(connection, messages.decode_from_client(text))
        except (messages.MessageError, ScramError, SealError) as exc:
            connection.fail(CloseCode.POLICY_VIOLATION, str(exc))
        except Unavailable:
            connection.send_away()
        except ConnectionEnded:
            pass  # during a login, or while it shows a code
        except Exception:
            log.exception("connection of %s is closed after an error", connection.address)
            connection.close(CloseCode.INTERNAL_ERROR, "")

    async def _handle(self, connection: ClientConnection, message: messages.ClientMessage) -> None:
        if isinstance(message, messages.Proof):
            raise messages.MessageError("proof without hello")
        if isinstance(message, messages.Pair):
            if connection.device is not None or connection.refusals:
                raise messages.MessageError("pair after hello")
            await self.pairings.pair(connection, message.device)
            return
        if not isinstance(message, messages.Hello):
            await self._report(connection, message)
            return
        connection.begin_login()
        try:
            await self._log_in(connection, message)
        except Refused as refused:
            _refuse(connection, refused)
        finally:
            if connection.device is not None:
                connection.enter_standby()

    async def _log_in(self, connection: ClientConnection, hello: messages.Hello) -> None:
        """Handle one login, from `hello` to `welcome`. Raise Refused."""
        started_at = asyncio.get_running_loop().time()
        device, address = hello.device, connection.address
        if is_older(device.version, self.settings.min_client_version):
            raise Refused(None, Rejected(reason="version", newest=self.settings.newest_client))
        first = ClientFirst.parse(hello.scram)
        check_device_id(device_id=device.id, public_key=device.public_key)

        # Find the user's passwords. An unknown user takes the same steps as a known one.
        found = await self.store.look_up((first.user or "", device.id))
        known_device = device.id if found.known_device else None
        guesses = self.throttle.guesses(first.user, address, known_device=known_device)
        if wait_s := guesses.wait_s():
            raise Refused(found.user_id, Rejected(reason="throttled", retry_after_s=wait_s))
        if known_device is None:
            check_public_key(device.public_key)

        # Let the client prove that it has one of these passwords.
        verifiers = [verifier for _, verifier in found.candidates]
        login = ServerLogin(first, verifiers, nonce=secrets.token_urlsafe(24))
        connection.send(messages.Challenge(scram=login.challenge))
        proof = await self._receive_proof(connection)
        # Check again: many connections may have got a challenge before the first refusal.
        if wait_s := guesses.wait_s():
            raise Refused(found.user_id, Rejected(reason="throttled", retry_after_s=wait_s))
        proven = login.check(proof.scram)
        if proven is None or found.user_id is None:
            guesses.on_refused()
            raise Refused(found.user_id, Rejected(reason="credentials"))
        index, server_final = proven
        since, verifier = found.candidates[index]

        # Write the login. Writing also checks what may have changed since the lookup.
        user_id, before = found.user_id, connection.device
        waiting_since = clock.now()
        if before is not None and (before.user_id, before.device_id) == (user_id, device.id):
            waiting_since = before.waiting_since
        with self.registry.noting_changes(connection, user_id):
            login_proof = records.VerifiedProof(user_id, since, device, address, waiting_since)
            outcome = await self.store.log_in(login_proof)
        if not isinstance(outcome, records.RecordedLogin):
            retry_after_s = NEW_DEVICE_SECONDS if outcome == "throttled" else None
            raise Refused(user_id, Rejected(reason=outcome, retry_after_s=retry_after_s))
        waiting = WaitingDevice(user_id, device.id, outcome.device_pk, waiting_since)
        if connection.stage == CLOSING:
            self.store.release(waiting)
            return
        guesses.on_accepted()

        connection.server_key = verifier.server_key
        self._welcome(connection, waiting, outcome, server_final)
        metrics.login_seconds.observe(asyncio.get_running_loop().time() - started_at)
        if before is not None and before.device_pk != outcome.device_pk:
            self.store.release(before)

    async def _receive_proof(self, connection: ClientConnection) -> messages.Proof:
        """Wait for the proof, and handle reports of the client that come before it."""
        while not isinstance(message := await connection.receive(), messages.Proof):
            if isinstance(message, messages.Hello | messages.Pair):
                raise messages.MessageError("hello or pair while a login is under way")
            await self._report(connection, message)
        return message

    def _welcome(
        self,
        connection: ClientConnection,
        device: WaitingDevice,
        outcome: records.RecordedLogin,
        server_final: str,
    ) -> None:
        """Put the client on standby; send `welcome` and the pushes that are pending for it."""
        accepted = outcome.accepted
        older = self.registry.join(connection, device, accepted)
        connection.refusals = 0
        connection.enter_standby()
        if older is not None and older is not connection:
            older.end(messages.Bye(reason="superseded"), CloseCode.NORMAL_CLOSURE)
        _accepted[accepted.password].inc()
        said = "user %d logged in on device %d from %s with the %s password"
        who = (device.user_id, device.device_pk, connection.address, accepted.password)
        log.debug(said, *who)  # not at INFO: ten thousand clients log in at once
        connection.send(
            messages.Welcome(
                scram=server_final,
                password=accepted.password,
                valid_until=accepted.valid_until,
                server_time=clock.now(),
                console_url=self.settings.known_console_url,
                newest=self.settings.newest_client,
            )
        )
        push(connection, outcome.pending)
        if connection.has_changed:
            self.notifier.wake(device.user_id)

    async def _report(
        self, connection: ClientConnection, report: messages.Notice | messages.UpdateFailed
    ) -> None:
        """Write a client's report. If the database is unreachable, only the report is lost."""
        device, address = connection.device, connection.address
        if device is None:
            raise messages.MessageError("message before a login")
        try:
            if isinstance(report, messages.Notice):
                await self.store.write(records.notice, device.device_pk, report)
            else:
                metrics.pushes_failed.labels(report.reason).inc()
                await self.store.write(records.update_failed, device.device_pk, report, address)
        except Unavailable:
            log.warning(
                "report of user %d from %s is lost: the database is away", device.user_id, address
            )


def _refuse(connection: ClientConnection, refused: Refused) -> None:
    """Send the refusal and close; after a wrong password, close only at the third one."""
    answer, user_id = refused.answer, refused.user_id
    metrics.logins.labels(answer.reason).inc()
    who = "an unknown user" if user_id is None else f"user {user_id}"
    log.info("login of %s from %s is refused: %s", who, connection.address, answer.reason)
    if answer.reason == "credentials":
        connection.refusals += 1
        if connection.refusals < MAX_REFUSALS:
            connection.send(answer)
            return
    connection.end(answer, CloseCode.POLICY_VIOLATION)
