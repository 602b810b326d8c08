"""The client's mind: an event and the time go in, effects come out. `handle` is the only way in.

A message's way through it is told in docs/architecture.md. Here is when the client connects, what
it does about trouble, and what the vault's answers mean. Which password is tried and what the
server's words mean is the affair of logins.py, new passwords that of updates.py, warnings that of
sign_ins.py. A write that fails is made up for or taken back.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from agent.core import backoff
from agent.core import effects as do
from agent.core import events as ev
from agent.core.credentials import Credentials, Identity, Refusal
from agent.core.effects import Effect, EffectQueue
from agent.core.events import Event, Instant, Step, Timer
from agent.core.failure import Failure, Reason
from agent.core.host_info import HostInfo
from agent.core.link import Link
from agent.core.logins import Logins
from agent.core.password_warnings import PasswordWarnings
from agent.core.remembered import AccountContext
from agent.core.saved_state import SavedState
from agent.core.state import State, Trigger, next_state
from agent.core.stored import CredentialCache
from agent.core.updates import Updates
from agent.core.view import View
from protocol import messages as msg

__all__ = ["HostInfo", "Machine"]


STEADY_S = 60.0
"""Seconds that a login must have stood for delays to start anew. A server that welcomes and falls
over would else see all of its clients at once, again and again."""


class Machine:
    """One client. Not thread-safe: its owner calls `handle` from one place."""

    def __init__(
        self, surroundings: HostInfo, identity: Identity | None, memory: SavedState
    ) -> None:
        self.state = State.CONNECTING
        self.why = "start"
        self.pc = surroundings
        self._do = EffectQueue()
        self._remembered = AccountContext(
            identity, memory, local=surroundings.local, outbox=self._do
        )
        self._stored = CredentialCache(self._remembered, self._do)
        self._link = Link(self._do)
        self._sign_ins = PasswordWarnings(self._remembered, self._do)
        self._updates = Updates(
            self,
            link=self._link,
            stored=self._stored,
            remembered=self._remembered,
            outbox=self._do,
        )
        self._logins = Logins(
            self,
            self._updates,
            link=self._link,
            stored=self._stored,
            remembered=self._remembered,
            outbox=self._do,
        )
        self._failure: Failure | None = None
        self._tries = 0
        self._succeeded_at: float | None = None
        self._next_try_at: datetime | None = None
        self.now = Instant(datetime.min.replace(tzinfo=UTC), 0.0)

    def handle(self, event: Event, now: Instant) -> list[Effect]:
        """What is to be done about `event`, in order. Late events of old connections: nothing."""
        self.now = now
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
        in_use = self.state not in {State.LOGGED_OUT, State.NEEDS_PASSWORD, State.STOPPED}
        return View(
            state=self.state,
            reason=self._failure.reason if self._failure else None,
            server=identity.server if identity else "",
            user=identity.user if identity else "",
            days_left=days if in_use else None,
            valid_until=memory.old_valid_until if in_use else None,
            next_try_at=self._next_try_at if self.state is State.RETRYING else None,
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
                self._logins.next_attempt()
            case ev.Disconnected(_, failure):
                self._link.ended()
                self.lost(failure)
            case ev.Received(_, message):
                self._logins.received(message)
            case ev.ProofReady(_, proof):
                self._link.prove(proof)
            case ev.ProofRefused(_, failure):
                self.lost(failure)
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
            case ev.LoginRequested():
                self._updates.requested(event)
            case ev.ReconnectRequested():
                if self.state in {State.RETRYING, State.STANDBY, State.STANDBY_OLD_PASSWORD}:
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

    # --- what a new password needs of the logins

    def next_attempt(self) -> None:
        """See Logins."""
        self._logins.next_attempt()

    def settle(self) -> None:
        """See Logins."""
        self._logins.settle()

    def stand(self, status: msg.Welcome | msg.PasswordStatus | msg.PasswordChanged) -> None:
        """See Logins."""
        self._logins.stand(status)

    def refuse_stored(self, refusal: Refusal) -> None:
        """See Logins."""
        self._logins.refuse_stored(refusal)

    # --- starting, connecting, trying again

    def _start(self) -> None:
        if self._remembered.identity is not None:
            self._stored.read(self._remembered.identity)
        elif self.state is State.CONNECTING:
            self.go(Trigger.NOTHING_STORED)

    def _vault_read(self, record: Credentials | None) -> None:
        if self._stored.answered(None) is None:
            return
        self._stored.problem = None
        self._stored.record = record
        if self.state is not State.CONNECTING:
            return  # the user is signing in meanwhile; this is what there is to go back to
        if record is None:
            self.go(Trigger.NOTHING_STORED)
        else:
            self.try_stored()

    def _vault_unreadable(self, reason: Reason) -> None:
        if self._stored.answered(None) is not None:
            self._stored.problem = reason
            if self.state is State.CONNECTING:
                self._trouble(Failure(reason))

    def connect(self, identity: Identity) -> None:
        """Open a connection; `next_attempt` follows when it stands."""
        self.disconnect()
        self._link.open(identity.server)

    def disconnect(self) -> None:
        """Have no connection."""
        if self._succeeded_at is not None and self.now.steady - self._succeeded_at >= STEADY_S:
            self._tries = 0
        self._succeeded_at = None
        self._updates.forget_push()
        self._link.close()

    def try_now(self) -> None:
        """Go on with what is stored on a new connection, or say what is lacking."""
        identity = self._remembered.identity
        self.disconnect()
        self._do(do.StopTimer(Timer.RETRY))
        if self._stored.record is not None:
            self.try_stored()
        elif identity is not None and (self._stored.problem or self._stored.is_reading):
            self.go(Trigger.TRY)
            self._stored.read(identity)
        else:
            self.go(Trigger.NOTHING_STORED)

    def try_stored(self) -> None:
        """Connect with what is stored, or ask the user when all of it was refused."""
        record, identity = self._stored.record, self._remembered.identity
        if identity is not None and self._stored.has_something_to_try:
            if self.state is not State.CONNECTING:
                self.go(Trigger.TRY)
            self.connect(identity)
        else:
            self.needs_password(record.refused if record and record.refused else "credentials")

    def _trouble(self, failure: Failure) -> None:
        self.disconnect()
        delay = backoff.delay_s(failure, tries=self._tries, random=self.pc.random())
        self._tries += 1
        self.go(Trigger.TROUBLE)
        self._failure = failure
        self._try_in(delay)

    def _try_in(self, delay_s: float) -> None:
        self._next_try_at = self.now.wall + timedelta(seconds=delay_s)
        self._do(do.StartTimer(Timer.RETRY, delay_s))

    def lost(self, failure: Failure) -> None:
        """The connection is gone, or has to go."""
        if not self._updates.failed(failure.reason):
            self._trouble(failure)

    def succeeded(self) -> None:
        """The server has proven itself and accepted a password."""
        if self._succeeded_at is None:
            self._succeeded_at = self.now.steady

    def _network_changed(self) -> None:
        if self._link.up:
            self._do(do.Probe(self._link.number))
        elif (
            self.state is State.RETRYING
            and self._failure is not None
            and self._failure.may_end_with_network
        ):
            self._try_in(backoff.prompt_s(random=self.pc.random()))

    def _timer(self, timer: Timer) -> None:
        match timer:
            case Timer.RETRY:
                if self.state is State.RETRYING:
                    self.try_now()
            case Timer.LOGIN:
                if self._link.attempt is not None:
                    self.lost(Failure(Reason.TIMED_OUT, detail="no answer to the login"))
            case Timer.WARNING:
                self.warn()
            case Timer.VAULT:
                self._catch_up_with_vault()
            case Timer.MIDNIGHT:
                self._remembered.watch_days(self.now)

    def needs_password(self, refusal: Refusal) -> None:
        """Only the user can help: say so once, and wait."""
        self.disconnect()
        self.go(Trigger.REFUSED)
        self._failure = Failure(Reason(refusal))
        self._remembered.remember(old_valid_until=None)
        self._do(do.WithdrawWarning())
        self._sign_ins.ask(self._failure.reason)

    # --- the vault

    def _vault_written(self, step: Step) -> None:
        job = self._stored.answered(step)
        if job is None:
            return
        self._stored.problem = None
        match step:
            case Step.PENDING:
                self._updates.pending_stored()
            case Step.COMMIT if not self._stored.is_under_way(Step.PENDING):
                self._logins.settle()
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
        self._do(do.StartTimer(Timer.VAULT, backoff.vault_s(random=self.pc.random())))
        if not self._link.up or self._link.attempt is not None or self._updates.candidate:
            return
        if self._link.standing is None:
            self._logins.next_attempt()
        elif self.state in {State.UPDATING, State.CONNECTING}:
            self._logins.settle()

    def _catch_up_with_vault(self) -> None:
        if self._stored.record is None:
            return
        if self.state is State.UPDATING:
            self._do(do.StartTimer(Timer.VAULT, backoff.vault_s(random=self.pc.random())))
        elif not self._updates.take_push() and self._stored.problem is not None:
            self._stored.write(self._stored.record, Step.COMMIT)

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
            self.warn()
        elif self.state is State.NEEDS_PASSWORD and self._failure is not None:
            self._sign_ins.ask(self._failure.reason)
        else:
            self._sign_ins.wait_for_server()
        if event.kind is not ev.SignInKind.SIGN_IN:
            self._network_changed()

    def warn(self) -> None:
        """Decide on the sign-ins that wait for it, and tell the server what became of them."""
        self._sign_ins.decide(self.now, online=self._link.standing is not None)
        self._send_notice()

    def _send_notice(self) -> None:
        if self._link.standing is not None and (notice := self._sign_ins.take_notice()):
            self._link.send(notice)
