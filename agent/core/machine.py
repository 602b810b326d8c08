"""The client's mind: an event and the time go in, effects come out. `handle` is the only way in.

A message's way through it is told in docs/architecture.md. Here is which password is tried, what
an answer means and what follows from it; new passwords are the affair of updates.py, warnings
that of sign_ins.py. A write that fails is made up for or taken back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from msgspec.structs import replace

from agent.core import backoff
from agent.core import effects as do
from agent.core import events as ev
from agent.core import messages as msg
from agent.core.effects import Effect, Outbox
from agent.core.events import Event, Instant, Step, Timer
from agent.core.failure import Failure, Patience, Reason
from agent.core.handshake import Handshake, HandshakeError
from agent.core.link import Kind, Link
from agent.core.memory import Memory
from agent.core.record import Identity, Record, Refusal, device_id, public_key
from agent.core.remembered import Remembered
from agent.core.sign_ins import SignIns
from agent.core.state import State, Trigger, next_state
from agent.core.stored import Stored
from agent.core.updates import Updates
from agent.core.view import View


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
        self._do = Outbox()
        self._remembered = Remembered(identity, memory, local=surroundings.local, outbox=self._do)
        self._stored = Stored(self._do)
        self._link = Link(self._do)
        self._sign_ins = SignIns(self._remembered, self._do)
        self._updates = Updates(self, self._link, self._stored, self._remembered, self._do)
        self._failure: Failure | None = None
        self._tries = 0
        self._next_try_at: datetime | None = None
        self._now = Instant(datetime.min.replace(tzinfo=UTC), 0.0)

    def handle(self, event: Event, now: Instant) -> list[Effect]:
        """What is to be done about `event`, in order. Late events of old connections: nothing."""
        self._now = now
        connection = getattr(event, "connection", None)
        if self.state is State.STOPPED or connection not in {None, self._link.number}:
            return []
        try:
            self._dispatch(event)
            self._updates.take_turn()
        finally:
            effects = self._do.take()
        return effects

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
        candidate = self._updates.candidate
        identity = candidate.identity if candidate else self._remembered.identity
        memory, days = self._remembered.memory, self._remembered.days_left(now)
        in_use = self.state not in {State.SIGNED_OUT, State.NEEDS_PASSWORD, State.STOPPED}
        return View(
            state=self.state,
            reason=self._failure.reason if self._failure else None,
            server=identity.server if identity else "",
            user=identity.user if identity else "",
            days_left=days if in_use else None,
            valid_until=memory.old_valid_until if in_use else None,
            next_try_at=self._next_try_at if self.state is State.WAITING else None,
            vault_problem=self._stored.problem,
            console_url=memory.console_url,
        )

    def _dispatch(self, event: Event) -> None:
        match event:
            case ev.Started():
                self._start()
            case ev.VaultRead(record):
                self._vault_read(record)
            case ev.VaultUnreadable(reason):
                self._vault_unreadable(reason)
            case ev.VaultWritten(step):
                self._vault_written(step)
            case ev.VaultWriteFailed(step, reason):
                self._vault_write_failed(step, reason)
            case ev.Connected():
                self._link.connected()
                self.next_attempt()
            case ev.Disconnected(_, failure):
                self._link.ended()
                self._lost(failure)
            case ev.Received(_, message):
                self._received(message)
            case ev.ProofReady(_, proof):
                self._link.prove(proof)
            case ev.ProofRefused(_, failure):
                self._lost(failure)
            case ev.TimerFired(timer):
                self._timer(timer)
            case ev.SignedIn():
                self._signed_in(event)
            case ev.NetworkChanged():
                self._network_changed()
            case ev.WarningShown(days):
                self._sign_ins.note("shown", days)
                self._send_notice()
            case ev.WarningFailed(days):
                self._sign_ins.note("failed", days)
                self._send_notice()
            case ev.SignInRequested():
                self._updates.requested(event)
            case ev.ReconnectRequested():
                if self.state in {State.WAITING, State.STANDBY, State.STANDBY_OLD_PASSWORD}:
                    self.try_now()
            case ev.LogoutRequested(request):
                self._log_out(request)
            case ev.QuitRequested():
                self._updates.give_up()
                self.disconnect()
                self._do(do.WithdrawWarning(), do.Quit())
                self.go(Trigger.QUIT)

    def go(self, trigger: Trigger) -> None:
        """Change the state. Only trouble keeps the reason for it."""
        self.state = next_state(self.state, trigger)
        self.why = trigger.value
        if trigger is not Trigger.TROUBLE:
            self._failure = None
            self._next_try_at = None

    # --- starting, connecting, trying again

    def _start(self) -> None:
        if self._remembered.identity is not None:
            self._stored.read(self._remembered.identity)
        elif self.state is State.CONNECTING:
            self.go(Trigger.NOTHING_STORED)

    def _vault_read(self, record: Record | None) -> None:
        if self._stored.answered(None) is None:
            return
        self._stored.problem = None
        self._stored.record = record
        if self.state is not State.CONNECTING:
            return  # the user is signing in meanwhile; this is what there is to go back to
        if record is None:
            self.go(Trigger.NOTHING_STORED)
        else:
            self._connect_or_ask()

    def _vault_unreadable(self, reason: Reason) -> None:
        if self._stored.answered(None) is not None:
            self._stored.problem = reason
            if self.state is State.CONNECTING:
                self._trouble(Failure(reason))

    def connect(self, identity: Identity) -> None:
        """Open a connection; `next_attempt` follows when it stands."""
        self._updates.forget_push()
        self._link.open(identity.server)

    def disconnect(self) -> None:
        """Have no connection."""
        self._updates.forget_push()
        self._link.close()

    def try_now(self) -> None:
        """Go on with what is stored on a new connection, or say what is lacking."""
        identity = self._remembered.identity
        self.disconnect()
        self._do(do.StopTimer(Timer.RETRY))
        if self._stored.record is not None:
            self._connect_or_ask()
        elif identity is not None and (self._stored.problem or self._stored.is_reading):
            self.go(Trigger.TRY)
            self._stored.read(identity)
        else:
            self.go(Trigger.NOTHING_STORED)

    def _connect_or_ask(self) -> None:
        record, identity = self._stored.record, self._remembered.identity
        if identity is not None and self._stored.has_something_to_try:
            if self.state is not State.CONNECTING:
                self.go(Trigger.TRY)
            self.connect(identity)
        else:
            self._needs_password(record.refused if record and record.refused else "credentials")

    def _trouble(self, failure: Failure) -> None:
        self.disconnect()
        delay = backoff.delay_s(failure, tries=self._tries, random=self._pc.random())
        self._tries += 1
        self.go(Trigger.TROUBLE)
        self._failure = failure
        self._try_in(delay)

    def _try_in(self, delay_s: float) -> None:
        self._next_try_at = self._now.wall + timedelta(seconds=delay_s)
        self._do(do.StartTimer(Timer.RETRY, delay_s))

    def _lost(self, failure: Failure) -> None:
        """The connection is gone, or has to go."""
        if not self._updates.failed(failure.reason):
            self._trouble(failure)

    def _network_changed(self) -> None:
        if self._link.up:
            self._do(do.Probe(self._link.number))
        elif (
            self.state is State.WAITING
            and self._failure is not None
            and self._failure.patience is Patience.SOON
        ):
            self._try_in(backoff.prompt_s(random=self._pc.random()))

    def _timer(self, timer: Timer) -> None:
        match timer:
            case Timer.RETRY:
                if self.state is State.WAITING:
                    self.try_now()
            case Timer.LOGIN:
                if self._link.attempt is not None:
                    self._lost(Failure(Reason.TIMED_OUT, detail="no answer to the login"))
            case Timer.WARNING:
                self._warn()
            case Timer.VAULT:
                self._catch_up_with_vault()
            case Timer.MIDNIGHT:
                self._remembered.watch_days(self._now)

    # --- logging in

    def next_attempt(self) -> None:
        """Try the password whose turn it is: the user's, the pushed one, the stored one."""
        record, candidate = self._stored.record, self._updates.candidate
        if candidate is not None:
            self._attempt(Kind.CANDIDATE, candidate.identity, candidate.record)
            return
        identity, pending = self._remembered.identity, self._stored.pending
        if record is None or identity is None:
            return
        if pending is not None:
            self._attempt(Kind.PENDING, identity, replace(record, password=pending.password))
        elif record.refused is None:
            self._attempt(Kind.STORED, identity, record)
        elif not self._stored.has_something_to_try:
            self._needs_password(record.refused)

    def _attempt(self, kind: Kind, identity: Identity, record: Record) -> None:
        key = public_key(record.device_key)
        device = msg.Device(
            id=device_id(key),
            public_key=key,
            name=self._pc.device_name,
            os=self._pc.os,
            version=self._pc.version,
        )
        try:
            handshake = Handshake(
                user=identity.user, password=record.password, nonce=self._pc.nonce()
            )
        except HandshakeError:
            self._refused(kind, "credentials", goes_on=True)
        else:
            self._link.log_in(kind, handshake, device)

    def _received(self, message: msg.ServerMessage) -> None:
        match message:
            case msg.Challenge(scram=challenge) if self._link.expects("challenge"):
                self._link.challenged(challenge)
            case msg.Welcome() if self._link.expects("welcome"):
                self._welcome(message)
            case msg.Rejected():
                self._rejected(message)
            case msg.PasswordChanged() if self._link.standing:
                self._updates.pushed(message)
            case msg.PasswordStatus() if self._link.standing:
                self.stand(message)
                if self.state is not State.UPDATING:
                    self.settle()
            case msg.Bye(reason=reason, retry_after_s=retry_after_s):
                self._lost(Failure(Reason(reason), retry_after_s))
            case _:
                self._lost(Failure(Reason.PROTOCOL, detail="a message out of order"))

    def _welcome(self, message: msg.Welcome) -> None:
        attempt, record = self._link.attempt, self._stored.record
        if attempt is None:
            return
        try:
            attempt.handshake.verify(message.scram)
        except HandshakeError as exc:
            self._lost(exc.failure)
            return
        self._link.welcomed()
        self._tries = 0
        if attempt.kind is Kind.CANDIDATE:
            self._updates.welcomed(message)
            return
        self.stand(message)
        self._remembered.remember_server(message.console_url)
        if record is None:
            return
        if attempt.kind is Kind.PENDING and record.pending is not None:
            # Proven: pending is newer than the stored one in any case, so it takes its place
            # even where it has become old itself meanwhile.
            password = record.pending.password
            self._write(replace(record, password=password, pending=None, refused=None), Step.COMMIT)
            return
        if record.pending is not None and record.pending.refused:
            self._updates.forget_pending()
        self.settle()

    def stand(self, status: msg.Welcome | msg.PasswordStatus | msg.PasswordChanged) -> None:
        """A login stands on the connection, and that is what its password is good for."""
        if isinstance(status, msg.PasswordChanged):
            self._link.stand("old", status.valid_until)
        else:
            self._link.stand(status.password, status.valid_until)
            self._remembered.hear(status.server_time, self._now)
        if self._updates.candidate is None or not self._updates.candidate.proven:
            self._remembered.remember(old_valid_until=status.valid_until)

    def settle(self) -> None:
        """Logged in, with nothing in flight: be what the standing login says, then go on."""
        standing = self._link.standing
        if standing is None or self._link.attempt is not None or self._updates.candidate:
            return
        if standing.password == "current":
            self.go(Trigger.LOGGED_IN)
            self._do(do.WithdrawWarning())
        else:
            self.go(Trigger.LOGGED_IN_OLD)
        self._remembered.watch_days(self._now)
        self._send_notice()
        self._warn()
        if self._stored.pending is not None:
            self._updates.pending_stored()
        elif self._stored.problem is None:
            self._updates.take_push()

    # --- refused

    def _rejected(self, message: msg.Rejected) -> None:
        attempt, standing = self._link.attempt, self._link.standing
        match message.reason:
            case "expired" if standing is not None:
                self._standing_ended()
            case "credentials" | "expired" if self._link.expects("welcome") and attempt:
                goes_on = self._link.refused() and message.reason == "credentials"
                self._refused(attempt.kind, message.reason, goes_on=goes_on)
            case "credentials" | "expired":
                self._lost(Failure(Reason.PROTOCOL, detail="refused what was not tried"))
            case reason:
                self._lost(Failure(Reason(reason), message.retry_after_s))

    def _standing_ended(self) -> None:
        """Expired. With a login in flight it may be meant, too: ask again where that is clear."""
        attempt, candidate = self._link.attempt, self._updates.candidate
        identity = candidate.identity if candidate else self._remembered.identity
        if attempt is not None and identity is not None:
            self.connect(identity)
        elif candidate is not None:
            self._lost(Failure(Reason.EXPIRED))
        else:
            self.refuse_stored("expired")

    def _refused(self, kind: Kind, refusal: Refusal, *, goes_on: bool) -> None:
        """`goes_on`: the server hears another login on this connection."""
        if kind is Kind.CANDIDATE:
            self._updates.refused(refusal, goes_on=goes_on)
        elif kind is Kind.STORED:
            self.refuse_stored(refusal)
        elif self._link.standing is not None:
            self._updates.forget_pending()
            if goes_on:
                self.settle()
            else:
                self.try_now()
        else:
            self._updates.pending_refused()
            if goes_on:
                self.next_attempt()
            else:
                self._connect_or_ask()

    def refuse_stored(self, refusal: Refusal) -> None:
        """Never send the stored password again by itself."""
        record = self._stored.record
        if record is not None and record.refused is None:
            self._write(replace(record, refused=refusal), Step.REFUSED)
        self._connect_or_ask()

    def _needs_password(self, refusal: Refusal) -> None:
        self.disconnect()
        self.go(Trigger.REFUSED)
        self._failure = Failure(Reason(refusal))
        self._remembered.remember(old_valid_until=None)
        self._do(do.WithdrawWarning())
        self._sign_ins.ask(self._failure.reason)

    # --- the vault

    def _write(self, record: Record, step: Step) -> None:
        if self._remembered.identity is not None:
            self._stored.write(self._remembered.identity, record, step)

    def _vault_written(self, step: Step) -> None:
        job = self._stored.answered(step)
        if job is None:
            return
        self._stored.problem = None
        match step:
            case Step.PENDING:
                self._updates.pending_stored()
            case Step.COMMIT if not self._stored.is_under_way(Step.PENDING):
                self.settle()
            case Step.CANDIDATE:
                self._updates.stored()
            case Step.LOGOUT if job.request is not None:
                self._do(do.Reply(job.request, None))

    def _vault_write_failed(self, step: Step, reason: Reason) -> None:
        job = self._stored.answered(step)
        if job is None:
            return
        if step is Step.LOGOUT and job.request is not None:
            self._do(do.Reply(job.request, reason))
            return
        if step is Step.CANDIDATE:
            self._updates.not_stored(reason)
            return
        if step is Step.PENDING:
            self._updates.pending_not_stored(job)
        self._stored.problem = reason
        self._do(do.StartTimer(Timer.VAULT, backoff.vault_s(random=self._pc.random())))
        if not self._link.up or self._link.attempt is not None or self._updates.candidate:
            return
        if self._link.standing is None:
            self.next_attempt()
        elif self.state in {State.UPDATING, State.CONNECTING}:
            self.settle()

    def _catch_up_with_vault(self) -> None:
        if self._stored.record is None:
            return
        if self.state is State.UPDATING:
            self._do(do.StartTimer(Timer.VAULT, backoff.vault_s(random=self._pc.random())))
        elif not self._updates.take_push() and self._stored.problem is not None:
            self._write(self._stored.record, Step.COMMIT)

    def _log_out(self, request: int) -> None:
        self.disconnect()
        self._updates.give_up()
        self._stored.forget()
        self._do(do.StopTimer(Timer.RETRY), do.StopTimer(Timer.VAULT), do.WithdrawWarning())
        if self._remembered.identity is None:
            self._do(do.Reply(request, None))
        else:
            self._stored.delete(self._remembered.identity, request)
        self._remembered.remember(old_valid_until=None, asked_session=None)
        self.go(Trigger.LOGGED_OUT)

    # --- warnings

    def _signed_in(self, event: ev.SignedIn) -> None:
        self._sign_ins.came(event)
        if self.state in {State.STANDBY, State.STANDBY_OLD_PASSWORD}:
            self._warn()
        elif self.state is State.NEEDS_PASSWORD and self._failure is not None:
            self._sign_ins.ask(self._failure.reason)
        else:
            self._sign_ins.wait_for_server()
        if event.kind is not ev.SignInKind.SIGN_IN:
            self._network_changed()

    def _warn(self) -> None:
        self._sign_ins.decide(self._now, online=self._link.standing is not None)
        self._send_notice()

    def _send_notice(self) -> None:
        if self._link.standing is not None and (notice := self._sign_ins.take_notice()):
            self._link.send(notice)
