"""The client's mind: an event and the time go in, effects come out. `handle` is the only way in.

A message's way through it is told in docs/architecture.md. The record in memory is what the vault
is meant to hold; writes follow in order, and a write that fails is made up for or taken back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from enum import Enum

from msgspec.structs import replace

from agent.core import backoff
from agent.core import effects as do
from agent.core import events as ev
from agent.core import messages as msg
from agent.core.deadline import ServerClock, days_left, seconds_to_midnight
from agent.core.effects import Effect
from agent.core.events import Event, Instant, Step, Timer
from agent.core.failure import Failure, Patience, Reason
from agent.core.handshake import Handshake, HandshakeError
from agent.core.memory import Memory
from agent.core.record import (
    Identity,
    Record,
    RecordError,
    Refusal,
    SealError,
    device_id,
    encode_record,
    new_device_key,
    open_push,
    public_key,
)
from agent.core.reminders import is_due
from agent.core.state import State, Trigger, next_state
from agent.core.view import View

LOGIN_S = 20.0
"""Seconds that a login may take once the connection stands."""
OFFLINE_WARNING_S = 60.0
"""Seconds after a sign-in at which the last known deadline has to do."""


class Kind(Enum):
    """Which password a login is tried with."""

    STORED = "stored"
    PENDING = "pending"
    CANDIDATE = "candidate"


@dataclass
class Attempt:
    """The login in flight."""

    kind: Kind
    password: str = field(repr=False)
    handshake: Handshake = field(repr=False)
    expects: str = "challenge"


@dataclass(frozen=True)
class Standing:
    """The login that stands on the connection."""

    password: msg.PasswordKind
    valid_until: datetime | None


@dataclass
class Candidate:
    """A user's wish to sign in, until it is answered."""

    request: int
    identity: Identity
    record: Record
    proven: bool = False
    memory: Memory = field(default_factory=Memory)


@dataclass(frozen=True)
class Surroundings:
    """What the machine knows of the PC, and its sources of randomness."""

    device_name: str
    os: str
    version: str
    random: Callable[[], float]
    """From [0, 1)."""
    nonce: Callable[[], str]
    """Printable ASCII without a comma, 128 bits or more."""
    local: tzinfo | None = None
    """The time zone that days are counted in; None is the PC's."""


class Machine:
    """One client. Not thread-safe: its owner calls `handle` from one place."""

    def __init__(
        self, surroundings: Surroundings, identity: Identity | None, memory: Memory
    ) -> None:
        self.state = State.CONNECTING
        self.why = "start"
        self._pc = surroundings
        self._identity = identity
        self._memory = memory
        self._record: Record | None = None
        self._clock = ServerClock(offset_s=memory.clock_offset_s)
        self._failure: Failure | None = None
        self._vault_problem: Reason | None = None
        self._tries = 0
        self._next_try_at: datetime | None = None
        # the connection: 0 is none; numbers tell late events of an earlier one
        self._connection = 0
        self._last_connection = 0
        self._up = False
        self._attempt: Attempt | None = None
        self._standing: Standing | None = None
        self._pending_refused = False
        # what waits for its turn
        self._candidate: Candidate | None = None
        self._queued: ev.SignInRequested | None = None
        self._push: msg.PasswordChanged | None = None
        self._logout: int | None = None
        self._reading = False
        # warnings
        self._session = ""
        self._sign_in: ev.SignedIn | None = None
        self._warned_steady: float | None = None
        self._unsent: msg.Notice | None = None

        self._out: list[Effect] = []
        self._now = Instant(datetime.min.replace(tzinfo=UTC), 0.0)

    def handle(self, event: Event, now: Instant) -> list[Effect]:
        """What is to be done about `event`, in order. Late events of old connections: nothing."""
        self._out, self._now = [], now
        connection = getattr(event, "connection", None)
        if self.state is State.STOPPED or connection not in {None, self._connection}:
            return []
        self._dispatch(event)
        if self._queued is not None and not self._must_wait():
            queued, self._queued = self._queued, None
            self._sign_in_requested(queued)
        return self._out

    @property
    def failure(self) -> Failure | None:
        """What is wrong, for the log."""
        return self._failure

    @property
    def tries(self) -> int:
        """Failures in a row."""
        return self._tries

    def view(self, now: Instant) -> View:
        """What to show; holds no secret."""
        identity = self._candidate.identity if self._candidate else self._identity
        valid_until = None
        if self.state not in {State.SIGNED_OUT, State.NEEDS_PASSWORD, State.STOPPED}:
            valid_until = self._memory.old_valid_until
        return View(
            state=self.state,
            reason=self._failure.reason if self._failure else None,
            server=identity.server if identity else "",
            user=identity.user if identity else "",
            days_left=self._days_left(valid_until, now) if valid_until else None,
            valid_until=valid_until,
            next_try_at=self._next_try_at if self.state is State.WAITING else None,
            vault_problem=self._vault_problem,
            console_url=self._memory.console_url,
        )

    def _dispatch(self, event: Event) -> None:
        match event:
            case ev.Started():
                self._start()
            case ev.VaultRead(record):
                self._vault_read(record)
            case ev.VaultUnreadable(reason):
                self._reading, self._vault_problem = False, reason
                if self.state is State.CONNECTING:
                    self._trouble(Failure(reason))
            case ev.VaultWritten(step):
                self._vault_written(step)
            case ev.VaultWriteFailed(step, reason):
                self._vault_write_failed(step, reason)
            case ev.Connected():
                self._up = True
                self._next_attempt()
            case ev.Disconnected(_, failure):
                self._connection, self._up = 0, False
                self._lost(failure)
            case ev.Received(_, message):
                self._received(message)
            case ev.ProofReady(_, proof):
                if self._attempt and self._attempt.expects == "key derivation":
                    self._attempt.expects = "welcome"
                    self._send(msg.Proof(scram=proof))
            case ev.ProofRefused(_, failure):
                self._lost(failure)
            case ev.TimerFired(timer):
                self._timer(timer)
            case ev.SignedIn():
                self._signed_in(event)
            case ev.NetworkChanged():
                self._network_changed()
            case ev.WarningShown(days):
                self._notice("shown", days)
            case ev.WarningFailed(days):
                self._notice("failed", days)
            case ev.SignInRequested():
                self._sign_in_requested(event)
            case ev.ReconnectRequested():
                self._reconnect()
            case ev.LogoutRequested(request):
                self._log_out(request)
            case ev.QuitRequested():
                self._disconnect()
                self._do(do.WithdrawWarning(), do.Quit())
                self._go(Trigger.QUIT)

    # --- small tools

    def _do(self, *effects: Effect) -> None:
        self._out.extend(effects)

    def _go(self, trigger: Trigger) -> None:
        self.state = next_state(self.state, trigger)
        self.why = trigger.value
        if trigger is not Trigger.TROUBLE:
            self._failure = None
            self._next_try_at = None

    def _send(self, message: msg.ClientMessage) -> None:
        if self._up:
            self._do(do.Send(self._connection, message))

    def _write(self, step: Step, record: Record) -> None:
        assert self._identity is not None  # noqa: S101 - a record belongs to somebody
        self._record = record
        self._do(do.WriteVault(self._identity, record, step))

    def _remember(self, **changes: object) -> None:
        memory = replace(self._memory, **changes)
        if memory != self._memory and self._identity is not None:
            self._memory = memory
            self._do(do.SaveMemory(self._identity, memory))

    def _server_now(self, now: Instant) -> datetime:
        return self._clock.at(now)

    def _days_left(self, valid_until: datetime, now: Instant) -> int:
        return days_left(valid_until, self._server_now(now), self._pc.local)

    # --- starting, connecting, trying again

    def _start(self) -> None:
        if self._identity is None:
            self._go(Trigger.NOTHING_STORED)
        else:
            self._read_vault(self._identity)

    def _read_vault(self, identity: Identity) -> None:
        self._reading = True
        self._do(do.ReadVault(identity))

    def _vault_read(self, record: Record | None) -> None:
        self._reading, self._vault_problem = False, None
        if self.state is not State.CONNECTING:
            return
        self._record = record
        if record is None:
            self._go(Trigger.NOTHING_STORED)
        elif self._something_to_try():
            self._connect(self._identity)
        else:
            self._needs_password(record.refused or "credentials")

    def _something_to_try(self) -> bool:
        record = self._record
        return record is not None and (
            record.refused is None or (record.pending is not None and not record.pending.refused)
        )

    def _connect(self, identity: Identity | None) -> None:
        assert identity is not None  # noqa: S101 - a record belongs to somebody
        self._disconnect()
        self._pending_refused = False
        self._last_connection += 1
        self._connection = self._last_connection
        self._do(do.StopTimer(Timer.RETRY), do.Connect(self._connection, identity.server))

    def _disconnect(self) -> None:
        if self._connection:
            self._do(do.Disconnect(self._connection))
        self._connection, self._up = 0, False
        self._attempt, self._standing, self._push = None, None, None
        self._do(do.StopTimer(Timer.LOGIN))

    def _try_now(self) -> None:
        """From any state but UPDATING's own flow: go on with what is stored, or say what lacks."""
        if self._identity is not None and self._record is None and self._vault_problem:
            self._go(Trigger.TRY)
            self._do(do.StopTimer(Timer.RETRY))
            self._read_vault(self._identity)
        elif self._record is None:
            self._disconnect()
            self._go(Trigger.NOTHING_STORED)
        elif self._something_to_try():
            self._go(Trigger.TRY)
            self._connect(self._identity)
        else:
            self._disconnect()
            self._go(Trigger.REFUSED)
            self._failure = Failure(Reason(self._record.refused or "credentials"))

    def _trouble(self, failure: Failure) -> None:
        self._disconnect()
        delay = backoff.delay_s(failure, tries=self._tries, random=self._pc.random())
        self._tries += 1
        self._go(Trigger.TROUBLE)
        self._failure = failure
        self._next_try_at = self._now.wall + timedelta(seconds=delay)
        self._do(do.StartTimer(Timer.RETRY, delay))

    def _lost(self, failure: Failure) -> None:
        """The connection is gone, or has to go."""
        candidate = self._candidate
        if candidate is None:
            self._trouble(failure)
        elif candidate.proven:
            self._disconnect()  # its write is under way and decides
        else:
            self._candidate = None
            self._do(do.Reply(candidate.request, failure.reason))
            self._disconnect()
            self._try_now()

    def _reconnect(self) -> None:
        if self.state in {State.WAITING, State.STANDBY, State.STANDBY_OLD_PASSWORD}:
            self._try_now()

    def _network_changed(self) -> None:
        if self._up:
            self._do(do.Probe(self._connection))
        elif (
            self.state is State.WAITING
            and self._failure is not None
            and self._failure.patience is Patience.SOON
        ):
            delay = backoff.prompt_s(random=self._pc.random())
            self._next_try_at = self._now.wall + timedelta(seconds=delay)
            self._do(do.StartTimer(Timer.RETRY, delay))

    def _timer(self, timer: Timer) -> None:
        match timer:
            case Timer.RETRY:
                if self.state is State.WAITING:
                    self._try_now()
            case Timer.LOGIN:
                if self._attempt is not None:
                    self._lost(Failure(Reason.TIMED_OUT, detail="no answer to the login"))
            case Timer.WARNING:
                self._warn()
            case Timer.VAULT:
                self._catch_up_with_vault()
            case Timer.MIDNIGHT:
                self._watch_days()

    # --- logging in

    def _next_attempt(self) -> None:
        record = self._record
        if self._candidate is not None:
            self._attempt_login(Kind.CANDIDATE, self._candidate.record.password)
        elif record and record.pending and not (record.pending.refused or self._pending_refused):
            self._attempt_login(Kind.PENDING, record.pending.password)
        elif record and record.refused is None:
            self._attempt_login(Kind.STORED, record.password)
        else:
            self._refuse_stored(record.refused if record and record.refused else "credentials")

    def _attempt_login(self, kind: Kind, password: str) -> None:
        identity = self._candidate.identity if self._candidate else self._identity
        record = self._candidate.record if self._candidate else self._record
        assert identity is not None and record is not None  # noqa: S101, PT018 - see _next_attempt
        try:
            handshake = Handshake(user=identity.user, password=password, nonce=self._pc.nonce())
        except HandshakeError as exc:
            self._refused(kind, exc.failure.reason)
            return
        self._attempt = Attempt(kind, password, handshake)
        key = public_key(record.device_key)
        device = msg.Device(
            id=device_id(key),
            public_key=key,
            name=self._pc.device_name,
            os=self._pc.os,
            version=self._pc.version,
        )
        self._send(msg.Hello(scram=handshake.first(), device=device))
        self._do(do.StartTimer(Timer.LOGIN, LOGIN_S))

    def _received(self, message: msg.ServerMessage) -> None:
        match message:
            case msg.Challenge(scram=challenge) if self._expects("challenge"):
                assert self._attempt is not None  # noqa: S101 - see _expects
                self._attempt.expects = "key derivation"
                self._do(do.ComputeProof(self._connection, self._attempt.handshake, challenge))
            case msg.Welcome() if self._expects("welcome"):
                self._welcome(message)
            case msg.Rejected():
                self._rejected(message)
            case msg.PasswordChanged() if self._standing:
                self._pushed(message)
            case msg.PasswordStatus() if self._standing:
                self._clock = self._clock.hear(message.server_time, self._now)
                self._stand(message.password, message.valid_until)
                if self._attempt is None and self.state is not State.UPDATING:
                    self._settle()
            case msg.Bye(reason=reason, retry_after_s=retry_after_s):
                self._lost(Failure(Reason(reason), retry_after_s))
            case _:
                self._lost(Failure(Reason.PROTOCOL, detail="a message out of order"))

    def _expects(self, what: str) -> bool:
        return self._attempt is not None and self._attempt.expects == what

    def _welcome(self, message: msg.Welcome) -> None:
        attempt = self._attempt
        assert attempt is not None  # noqa: S101 - see _expects
        try:
            attempt.handshake.verify(message.scram)
        except HandshakeError as exc:
            self._lost(exc.failure)
            return
        self._attempt = None
        self._tries = 0
        self._do(do.StopTimer(Timer.LOGIN))
        self._clock = self._clock.hear(message.server_time, self._now)
        if attempt.kind is Kind.CANDIDATE:
            self._candidate_welcome(message)
            return
        self._stand(message.password, message.valid_until)
        self._remember(clock_offset_s=round(self._clock.offset_s), console_url=message.console_url)
        record = self._record
        assert record is not None  # noqa: S101 - it has just logged in
        if attempt.kind is Kind.PENDING:
            # Proven: pending is newer than the stored one in any case, so it takes its place
            # even where it has become old itself meanwhile.
            proven = replace(record, password=attempt.password, pending=None, refused=None)
            self._write(Step.COMMIT, proven)
        else:
            if record.pending is not None and self._pending_refused:
                self._forget_pending()
            self._settle()

    def _candidate_welcome(self, message: msg.Welcome) -> None:
        candidate = self._candidate
        assert candidate is not None  # noqa: S101 - the attempt was its
        if message.password == "old":
            self._lost(Failure(Reason.OLD_PASSWORD))
            return
        candidate.proven = True
        self._standing = Standing("current", None)
        candidate.memory = Memory(
            clock_offset_s=round(self._clock.offset_s), console_url=message.console_url
        )
        if self._vault_problem is Reason.VAULT_BROKEN:
            # The user has typed a password that works, so what cannot be read may go.
            self._do(do.DeleteFromVault(candidate.identity, None))
        self._do(do.WriteVault(candidate.identity, candidate.record, Step.CANDIDATE))

    def _stand(self, password: msg.PasswordKind, valid_until: datetime | None) -> None:
        self._standing = Standing(password, valid_until)
        self._remember(old_valid_until=valid_until)

    def _settle(self) -> None:
        """Logged in, with nothing in flight: be what the standing login says, then go on."""
        standing = self._standing
        if standing is None:
            return
        if standing.password == "current":
            self._go(Trigger.LOGGED_IN)
            self._do(do.WithdrawWarning())
        else:
            self._go(Trigger.LOGGED_IN_OLD)
        self._watch_days()
        if self._unsent is not None:
            self._send(self._unsent)
            self._unsent = None
        self._warn()
        if self._push is not None and self._queued is None and self._vault_problem is None:
            push, self._push = self._push, None
            self._pushed(push)

    # --- refused

    def _rejected(self, message: msg.Rejected) -> None:
        reason = Reason(message.reason)
        attempt, self._attempt = self._attempt, None
        refusals = {Reason.CREDENTIALS, Reason.EXPIRED}
        if attempt is not None and reason in refusals:
            self._do(do.StopTimer(Timer.LOGIN))
            self._refused(attempt.kind, reason)
        elif reason is Reason.EXPIRED and self._standing and self._candidate is None:
            self._refuse_stored("expired")
        elif reason is Reason.CREDENTIALS:
            self._lost(Failure(Reason.PROTOCOL, detail="refused what was not tried"))
        else:
            self._lost(Failure(reason, message.retry_after_s))

    def _refused(self, kind: Kind, reason: Reason) -> None:
        if kind is Kind.CANDIDATE:
            candidate, self._candidate = self._candidate, None
            assert candidate is not None  # noqa: S101 - the attempt was its
            self._do(do.Reply(candidate.request, reason))
            if self._standing is not None and reason is Reason.CREDENTIALS:
                self._settle()
            else:
                self._disconnect()
                self._try_now()
        elif kind is Kind.PENDING:
            self._pending_refused = True
            if self._standing is not None:
                self._forget_pending()
                if reason is Reason.CREDENTIALS:
                    self._settle()
                else:
                    self._try_now()
            elif reason is Reason.CREDENTIALS:
                self._next_attempt()
            else:  # the server closes after any reason but `credentials`
                self._connect(self._identity)
                self._pending_refused = True
        else:
            self._refuse_stored("expired" if reason is Reason.EXPIRED else "credentials")

    def _forget_pending(self) -> None:
        """The server has proven itself on this connection and does not want the pending one."""
        record = self._record
        assert record is not None and record.pending is not None  # noqa: S101, PT018 - callers
        change_id = record.pending.change_id
        self._send(msg.UpdateFailed(change_id=change_id, reason="refused"))
        self._write(Step.FORGET_PENDING, replace(record, pending=None))

    def _refuse_stored(self, refusal: Refusal) -> None:
        """Never send the stored password again by itself."""
        record = self._record
        assert record is not None  # noqa: S101 - it has just been tried
        pending = record.pending
        if pending is not None and self._pending_refused:
            pending = replace(pending, refused=True)
        self._write(Step.REFUSED, replace(record, refused=refusal, pending=pending))
        if self._something_to_try():
            self._disconnect()
            self._go(Trigger.TRY)
            self._connect(self._identity)
        else:
            self._needs_password(refusal)

    def _needs_password(self, refusal: Refusal) -> None:
        self._disconnect()
        self._go(Trigger.REFUSED)
        self._failure = Failure(Reason(refusal))
        self._remember(old_valid_until=None)
        self._do(do.WithdrawWarning())
        self._ask()

    def _ask(self) -> None:
        """Tell the user that a password is needed: once, and again at the next sign-in."""
        if self._failure is not None and self._memory.asked_session != self._session:
            self._do(do.AskForPassword(self._failure.reason))
            self._remember(asked_session=self._session)

    # --- a pushed password

    def _pushed(self, message: msg.PasswordChanged) -> None:
        record = self._record
        assert record is not None  # noqa: S101 - it has logged in
        self._stand("old", message.valid_until)
        if record.pending is not None and record.pending.change_id == message.change_id:
            return
        if self._attempt is not None or self.state is State.UPDATING:
            self._push = message
            return
        try:
            pending = open_push(message, record.device_key)
            updated = replace(record, pending=pending)
            encode_record(updated)
        except (SealError, RecordError) as exc:
            unreadable = isinstance(exc, SealError)
            self._send(
                msg.UpdateFailed(
                    change_id=message.change_id, reason="unreadable" if unreadable else "vault"
                )
            )
            self._settle()
            return
        self._push = message
        self._go(Trigger.UPDATE_BEGUN)
        self._write(Step.PENDING, updated)

    def _vault_written(self, step: Step) -> None:
        self._vault_problem = None
        match step:
            case Step.PENDING:
                self._push = None
                if self._up and self._standing and self.state is State.UPDATING:
                    self._pending_refused = False
                    self._next_attempt()
            case Step.COMMIT:
                if self._up:
                    self._settle()
            case Step.CANDIDATE:
                self._candidate_stored()
            case Step.LOGOUT:
                self._answer_logout(None)
            case Step.REFUSED | Step.FORGET_PENDING:
                pass

    def _vault_write_failed(self, step: Step, reason: Reason) -> None:
        if step is Step.LOGOUT:
            self._answer_logout(reason)
            return
        if step is Step.CANDIDATE:
            self._lost_candidate(reason)
            return
        self._vault_problem = reason
        self._do(do.StartTimer(Timer.VAULT, backoff.vault_s(random=self._pc.random())))
        if step is Step.PENDING and self._record is not None and self._record.pending is not None:
            change_id = self._record.pending.change_id
            self._record = replace(self._record, pending=None)
            self._send(msg.UpdateFailed(change_id=change_id, reason="vault"))
        if self._up and self.state in {State.UPDATING, State.CONNECTING} and not self._attempt:
            self._settle()

    def _catch_up_with_vault(self) -> None:
        if self._record is None or self._vault_problem is None:
            return
        if self._push is not None and self._up and self.state is State.STANDBY_OLD_PASSWORD:
            push, self._push = self._push, None
            self._pushed(push)
        elif self.state is not State.UPDATING:
            self._write(Step.COMMIT, self._record)

    # --- what the user asks for

    def _must_wait(self) -> bool:
        """A push is being proven, or what is stored is not known yet."""
        return self.state in {State.UPDATING, State.STOPPED} or self._reading

    def _sign_in_requested(self, event: ev.SignInRequested) -> None:
        if self._candidate is not None or self._queued is not None:
            self._do(do.Reply(event.request, Reason.BUSY))
            return
        if self._must_wait():
            self._queued = event
            return
        same = event.identity == self._identity and self._record is not None
        key = self._record.device_key if same and self._record else new_device_key()
        record = Record(password=event.password, device_key=key)
        try:
            encode_record(record)
        except RecordError:
            self._do(do.Reply(event.request, Reason.CREDENTIALS))
            return
        self._candidate = Candidate(event.request, event.identity, record)
        stands = same and self._standing is not None and self._attempt is None
        self._go(Trigger.UPDATE_BEGUN)
        if stands:
            self._next_attempt()
        else:
            self._connect(event.identity)

    def _candidate_stored(self) -> None:
        candidate, self._candidate = self._candidate, None
        if candidate is None:
            return
        before = self._identity
        self._identity, self._record = candidate.identity, candidate.record
        self._push = None
        if before != candidate.identity:
            self._memory = Memory()
            self._do(do.SaveIdentity(candidate.identity))
            if before is not None:
                self._do(do.DeleteFromVault(before, None))
        self._remember(
            old_valid_until=None,
            asked_session=None,
            clock_offset_s=candidate.memory.clock_offset_s,
            console_url=candidate.memory.console_url,
        )
        self._do(do.WithdrawWarning(), do.Reply(candidate.request, None))
        if self._up:
            self._settle()
        else:
            self._try_now()

    def _lost_candidate(self, reason: Reason) -> None:
        candidate, self._candidate = self._candidate, None
        if candidate is not None:
            self._do(do.Reply(candidate.request, reason))
            self._disconnect()
            self._try_now()

    def _log_out(self, request: int) -> None:
        if self._identity is None:
            self._do(do.Reply(request, None))
            return
        self._disconnect()
        for waiting in (self._candidate, self._queued):
            if waiting is not None:
                self._do(do.Reply(waiting.request, Reason.BUSY))
        self._candidate, self._queued, self._record = None, None, None
        self._vault_problem = None
        self._logout = request
        self._do(do.StopTimer(Timer.RETRY), do.StopTimer(Timer.VAULT), do.WithdrawWarning())
        self._do(do.DeleteFromVault(self._identity, Step.LOGOUT))
        self._remember(old_valid_until=None, asked_session=None)
        self._go(Trigger.LOGGED_OUT)

    def _answer_logout(self, failure: Reason | None) -> None:
        if self._logout is not None:
            self._do(do.Reply(self._logout, failure))
            self._logout = None

    # --- warnings

    def _signed_in(self, event: ev.SignedIn) -> None:
        self._session = event.session
        self._sign_in = event
        if self.state in {State.STANDBY, State.STANDBY_OLD_PASSWORD}:
            self._warn()
        elif self.state is State.NEEDS_PASSWORD:
            self._ask()
        else:
            self._do(do.StartTimer(Timer.WARNING, OFFLINE_WARNING_S))
        if event.kind is not ev.SignInKind.SIGN_IN:
            self._network_changed()

    def _warn(self) -> None:
        """Decide the sign-in that waits for it, by the server's word or the last known one."""
        sign_in, self._sign_in = self._sign_in, None
        valid_until = self._memory.old_valid_until
        if sign_in is None or valid_until is None:
            return
        today = self._server_now(self._now).astimezone(self._pc.local).date()
        if self._standing is None and self._server_now(self._now) >= valid_until:
            return  # offline and past its end: only the server can say what holds now
        days = self._days_left(valid_until, self._now)
        since = None if self._warned_steady is None else self._now.steady - self._warned_steady
        self._do(do.StopTimer(Timer.WARNING))
        if is_due(sign_in, days_left=days, memory=self._memory, today=today, since_last_s=since):
            self._warned_steady = self._now.steady
            self._remember(warned_session=sign_in.session, warned_on=today)
            self._do(do.ShowWarning(days))
        else:
            self._notice("suppressed", days)

    def _notice(self, warning: str, days: int) -> None:
        notice = msg.Notice(warning=warning, days_left=days)  # type: ignore[arg-type] # of three
        if self._standing is not None:
            self._send(notice)
        else:
            self._unsent = notice

    def _watch_days(self) -> None:
        """Come back at midnight, when there is a day less to show."""
        if self._memory.old_valid_until is None:
            self._do(do.StopTimer(Timer.MIDNIGHT))
        else:
            wait = seconds_to_midnight(self._server_now(self._now), self._pc.local)
            self._do(do.StartTimer(Timer.MIDNIGHT, wait))
