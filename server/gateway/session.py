"""One connection's conversation: logins, and what a logged-in client reports."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Concatenate, Literal, ParamSpec, TypeVar, get_args

import msgspec
from websockets.frames import CloseCode

from protocol.messages import (
    Bye,
    Challenge,
    Device,
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
from server.gateway.connections import LOGIN_SECONDS, Connection, Presence, Registry
from server.gateway.login import Candidate, LoginError, Proven, is_too_old
from server.gateway.records import Known, LoggedIn, Refusal
from server.gateway.store import Store, Unavailable
from server.gateway.tasks import Tasks
from server.gateway.throttle import Throttle
from server.gateway.updates import Updates, push

log = logging.getLogger(__name__)

MAX_REFUSALS = 3
"""Refused passwords in a row after which the connection is closed."""
MAX_WAITING = 4
"""Messages that wait for the one before them; a client that sends more is not read meanwhile."""
NEW_DEVICE_SECONDS = 3600
"""How long a client waits that is one device too many for its user."""
UNAVAILABLE_SECONDS = (5, 60)
"""Clients whom the database's absence sends away come back within these, spread out."""


_Answer = TypeVar("_Answer")
_More = ParamSpec("_More")

_accepted = {kind: metrics.logins.labels(kind) for kind in get_args(PasswordKind)}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one connection, and one address, may ask of a gateway."""

    login_s: float = LOGIN_SECONDS
    """From the upgrade to the first `welcome`."""
    message_burst: int = 60
    messages_per_s: float = 2
    """A connection may send `message_burst` frames at once, and so many a second in the long run:
    pings, and the parts of a message, count as well."""
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
    tasks: Tasks
    gone: Callable[[Presence], None]
    """What to do when somebody waits no longer."""
    console_url: str | None
    min_client_version: str


class _Attempt(msgspec.Struct, frozen=True, gc=False):
    """A login between `challenge` and `proof`."""

    login: ServerLogin
    candidates: Sequence[Candidate]
    username: str
    user_id: int | None
    device: Device
    known_device: bool
    started_at: float
    """By the loop's clock."""


class Session:
    """What is said on one connection, in order: a message that has to wait for the database holds
    up those behind it."""

    __slots__ = (
        "_attempt",
        "_connection",
        "_inbox",
        "_is_busy",
        "_is_lost",
        "_refusals",
        "_services",
    )

    def __init__(self, connection: Connection, services: Services) -> None:
        self._connection = connection
        self._services = services
        self._inbox: deque[bytes] | None = None
        self._is_busy = False
        self._is_lost = False
        self._attempt: _Attempt | None = None
        self._refusals = 0
        services.registry.opened(connection)

    def received(self, text: bytes) -> None:
        """Work on it after what came before."""
        if not self._is_busy:
            self._work(self._handle, text)
            return
        if self._inbox is None:
            self._inbox = deque()
        self._inbox.append(text)
        if len(self._inbox) >= MAX_WAITING:
            self._connection.wire.pause_reading()

    def late(self) -> None:
        """There was no login in time; whether that is our fault decides what the client hears."""
        if self._is_busy:
            self._unavailable()
        else:
            self._connection.wire.close(CloseCode.POLICY_VIOLATION, "login took too long")

    def lost(self) -> None:
        """Nothing more comes, and nothing more can be said."""
        self._is_lost = True
        if not self._is_busy:
            self._forget()

    def _forget(self) -> None:
        presence = self._services.registry.closed(self._connection)
        if presence is not None:
            self._services.gone(presence)

    def _work(self, step: Callable[_More, None], *args: _More.args, **kwargs: _More.kwargs) -> None:
        """Take this step, then the messages behind it, until one has to wait for the database."""
        connection = self._connection
        try:
            step(*args, **kwargs)
            while self._inbox and not self._is_busy and not connection.ending:
                if len(self._inbox) == MAX_WAITING:
                    connection.wire.resume_reading()
                self._handle(self._inbox.popleft())
        except (MessageError, ScramError, SealError, LoginError) as exc:
            log.info("a client broke the protocol: %s", exc)
            metrics.connections_cut.labels("protocol").inc()
            connection.ending = True
            connection.wire.close(CloseCode.POLICY_VIOLATION, str(exc))
        except Unavailable:
            self._unavailable()
        except Exception:
            log.exception("a connection is given up")
            connection.ending = True
            connection.wire.close(CloseCode.INTERNAL_ERROR)
        if self._is_busy:
            return
        if self._inbox:
            self._inbox = None
            connection.wire.resume_reading()  # else the client's goodbye is not heard
        if self._is_lost:
            self._forget()

    def _go_on_after(
        self,
        answer: asyncio.Future[_Answer],
        step: Callable[Concatenate[asyncio.Future[_Answer], _More], None],
        *args: _More.args,
        **kwargs: _More.kwargs,
    ) -> None:
        """Take `step` with the answer, when it is there."""
        self._is_busy = True
        self._services.tasks.keep(answer)

        def go_on(answer: asyncio.Future[_Answer]) -> None:
            self._is_busy = False
            self._work(step, answer, *args, **kwargs)

        answer.add_done_callback(go_on)

    def _unavailable(self) -> None:
        """Nothing can be looked up now: come back later, and not all at once."""
        retry_after_s = random.randint(*UNAVAILABLE_SECONDS)  # noqa: S311 - it spreads, it hides nothing
        self._connection.end(
            Bye(reason="shutting_down", retry_after_s=retry_after_s), CloseCode.TRY_AGAIN_LATER
        )

    def _handle(self, text: bytes) -> None:
        message = decode_from_client(text)
        presence = self._connection.presence
        if isinstance(message, Hello):
            self._hello(message)
        elif isinstance(message, Proof):
            self._proof(message)
        elif presence is None:
            raise MessageError("message before a login")
        else:
            report = asyncio.ensure_future(self._report(presence.device_pk, message))
            self._go_on_after(report, asyncio.Future.result)

    async def _report(self, device_pk: int, report: Notice | UpdateFailed) -> None:
        """Who waits is not sent away when such a thing cannot be written down."""
        store = self._services.store
        try:
            if isinstance(report, Notice):
                await store.notice(device_pk, report)
            else:
                metrics.pushes_failed.labels(report.reason).inc()
                await store.update_failed(device_pk, report, address=self._connection.address)
        except Unavailable:
            log.warning("what a client reported is lost: the database is away")

    def _hello(self, hello: Hello) -> None:
        if self._attempt is not None:
            raise LoginError("hello while a login is under way")
        if is_too_old(hello.device.version, self._services.min_client_version):
            self._reject("version")
            return
        first = ClientFirst.parse(hello.scram)
        # The count for the user alone can be judged only when the device is known.
        if self._is_throttled(first.user or "", known_device=True):
            return
        check_device_id(device_id=hello.device.id, public_key=hello.device.public_key)
        known = self._services.store.known(first.user or "", hello.device.id)
        self._go_on_after(known, self._challenge, first, hello.device, self._now())

    def _challenge(
        self,
        answer: asyncio.Future[Known],
        first: ClientFirst,
        device: Device,
        started_at: float,
    ) -> None:
        known = answer.result()
        if self._is_throttled(first.user or "", known_device=known.known_device):
            return
        if not known.known_device:
            check_public_key(device.public_key)
        verifiers = [each.verifier for each in known.candidates]
        login = ServerLogin(first, verifiers, nonce=secrets.token_urlsafe(24))
        self._attempt = _Attempt(
            login,
            known.candidates,
            first.user or "",
            known.user_id,
            device,
            known.known_device,
            started_at,
        )
        self._connection.challenged_at = self._now()
        self._connection.send(Challenge(scram=login.challenge))

    def _proof(self, proof: Proof) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is None:
            raise LoginError("proof without hello")
        # Again, because many connections may have got a challenge before the first refusal.
        if self._is_throttled(attempt.username, known_device=attempt.known_device):
            return
        fitting = attempt.login.check(proof.scram)
        if fitting is None or attempt.user_id is None:
            self._connection.challenged_at = None
            self._services.throttle.refused(user=attempt.username, address=self._connection.address)
            self._refuse()
        else:
            index, server_final = fitting
            proven = Proven(attempt.candidates[index], server_final)
            self._log_in(attempt, attempt.user_id, proven)

    def _log_in(self, attempt: _Attempt, user_id: int, proven: Proven) -> None:
        connection, services = self._connection, self._services
        before = connection.presence
        same = before is not None and (before.user_id, before.device_id) == (
            user_id,
            attempt.device.id,
        )
        waiting_since = before.waiting_since if before is not None and same else clock.now()
        services.registry.expect(connection, user_id)
        outcome = services.store.log_in(
            user_id,
            since=proven.candidate.since,
            device=attempt.device,
            address=connection.address,
            waiting_since=waiting_since,
        )
        self._go_on_after(outcome, self._written_down, attempt, proven, user_id, waiting_since)

    def _written_down(
        self,
        answer: asyncio.Future[LoggedIn | Refusal],
        attempt: _Attempt,
        proven: Proven,
        user_id: int,
        waiting_since: datetime,
    ) -> None:
        connection, services = self._connection, self._services
        connection.challenged_at = None
        services.registry.unexpect(connection, user_id)
        outcome = answer.result()
        if outcome == "credentials":
            self._refuse()
        elif not isinstance(outcome, LoggedIn):
            wait_s = NEW_DEVICE_SECONDS if outcome == "throttled" else None
            self._reject(outcome, retry_after_s=wait_s)
        elif connection.ending:
            services.store.gone(outcome.device_pk, waiting_since)
        else:
            services.throttle.accepted(user=attempt.username, address=connection.address)
            before = connection.presence
            presence = Presence(user_id, attempt.device.id, outcome.device_pk, waiting_since)
            self._welcome(presence, outcome, proven)
            metrics.login_seconds.observe(self._now() - attempt.started_at)
            if before is not None and before.device_pk != outcome.device_pk:
                services.store.gone(before.device_pk, before.waiting_since)

    def _welcome(self, presence: Presence, outcome: LoggedIn, proven: Proven) -> None:
        connection, services = self._connection, self._services
        self._refusals = 0
        connection.wire.settle()
        older = services.registry.join(connection, presence, outcome.standing)
        connection.server_key = proven.candidate.verifier.server_key
        if older is not None and older is not connection:
            older.end(Bye(reason="superseded"), CloseCode.NORMAL_CLOSURE)
        _accepted[outcome.standing.password].inc()
        log.debug(  # not at INFO: ten thousand come back at once
            "user %d logged in on device %d by the %s password",
            presence.user_id,
            presence.device_pk,
            outcome.standing.password,
        )
        connection.send(
            Welcome(
                scram=proven.server_final,
                password=outcome.standing.password,
                valid_until=outcome.standing.valid_until,
                server_time=clock.now(),
                console_url=services.console_url,
            )
        )
        push(connection, outcome.pending)
        if connection.stale:
            services.updates.wake(presence.user_id)

    @staticmethod
    def _now() -> float:
        """By the loop's clock."""
        return asyncio.get_running_loop().time()

    def _is_throttled(self, username: str, *, known_device: bool) -> bool:
        wait_s = self._services.throttle.wait_s(
            user=username, address=self._connection.address, known_device=known_device
        )
        if wait_s:
            self._reject("throttled", retry_after_s=wait_s)
        return bool(wait_s)

    def _refuse(self) -> None:
        """Say that user or password is wrong; the connection goes on, a few times."""
        self._refusals += 1
        metrics.logins.labels("credentials").inc()
        if self._refusals >= MAX_REFUSALS:
            self._end("credentials")
        else:
            self._connection.send(Rejected(reason="credentials"))

    def _reject(
        self,
        reason: Literal["expired", "disabled", "blocked", "throttled", "version"],
        *,
        retry_after_s: int | None = None,
    ) -> None:
        metrics.logins.labels(reason).inc()
        self._end(reason, retry_after_s=retry_after_s)

    def _end(
        self,
        reason: Literal["credentials", "expired", "disabled", "blocked", "throttled", "version"],
        *,
        retry_after_s: int | None = None,
    ) -> None:
        """Say why, and close."""
        log.info("a login was refused: %s", reason)
        self._connection.end(
            Rejected(reason=reason, retry_after_s=retry_after_s), CloseCode.POLICY_VIOLATION
        )
