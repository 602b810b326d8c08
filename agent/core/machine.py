"""The client's decisions: an event and the time go in, effects come out.

Theory of operation
-------------------

Four small machines and the account context hold the client's state. Each owns one thing, and
changes it by a transition table (transitions.py), from which the diagrams in
docs/architecture.md are made:

    connection   ConnectionState    the connection, the login on it, its deadline
    vault        CredentialCache    what the vault holds, requests to it, refused passwords
    change       PasswordChange     a new password, pushed or typed, until it is stored
    warnings     PasswordWarnings   sign-ins, warnings, notices to the server
    account      AccountContext     identity, saved state, the server's clock (no table)

`ClientState` owns the five. It has the state that the user sees (state.py), and `proceed`, which
takes the next step that the states of the small machines ask for. `Machine` is a ClientState that
takes events: it finds out what each means, and calls the step that follows.

Calls go one way only: the runtime calls `Machine.handle`; Machine calls the steps of ClientState
and the small machines; the steps call the small machines; they call the effect queue, and two of
them read the account context. None of them calls back: a method returns what its caller needs.

Every state that waits for an answer has a deadline: a timer of the connection, of the vault, or of
the warning. RETRYING has the retry timer. The other states wait for the user or for the server.

An exception out of `handle` is a defect of the program. Then no effect of that event is performed
and the Machine is dead: its state is STOPPED, and it ignores every event. Its owner ends the
program with an exit code. The vault's entry is complete at any moment, so the next start works.
"""

from __future__ import annotations

from agent.core import effects as do
from agent.core import events as ev
from agent.core.client_state import ClientState
from agent.core.connection_state import Phase
from agent.core.credential_cache import Knowledge, VaultRequest
from agent.core.credentials import NO_IDENTITY, Credentials, Identity
from agent.core.effects import Effect, WriteReason
from agent.core.events import Event, Instant, Timer
from agent.core.failure import Failure, Reason, failure_of
from agent.core.host_info import HostInfo
from agent.core.password_change import Progress
from agent.core.saved_state import SavedState
from agent.core.state import IN_USE, MAY_RECONNECT, State
from agent.core.view import View
from protocol import messages as msg
from protocol.scram import ScramError
from protocol.versions import is_older

SLEEP_S = 60.0  # seconds to the next try when the PC has announced a sleep and then stays awake


class Machine(ClientState):
    """One client. Not thread-safe: its owner calls `handle` from one thread."""

    def __init__(self, host: HostInfo, identity: Identity | None, saved_state: SavedState) -> None:
        super().__init__(host, identity or NO_IDENTITY, saved_state)
        self._session_ends: msg.Farewell | None = None

    def handle(self, event: Event, now: Instant) -> list[Effect]:
        """Return the effects of `event`, in order. An exception means that the Machine is dead.

        Ignore the late events of earlier connections, and every event after the state STOPPED.
        """
        self.now = now
        number = getattr(event, "connection", None)
        if self.state is State.STOPPED or number not in {None, self.connection.number}:
            return []
        try:
            self._dispatch(event)
            self.begin_typed()
        except Exception:
            self.state = State.STOPPED
            raise
        return self.emit.take()

    def view(self, now: Instant) -> View:
        """Return the state to show, without a secret."""
        identity = self.change.typed.identity if self.change.typed else self.account.identity
        in_use, newest = self.state in IN_USE, self.newest
        return View(
            state=self.state,
            reason=self.failure.reason if self.failure else None,
            server=identity.server,
            user=identity.user,
            days_left=self.account.days_left(now) if in_use else None,
            valid_until=self.account.old_valid_until if in_use else None,
            next_try_at=self.next_try_at,
            vault_problem=self.vault.problem,
            console_url=self.account.saved_state.console_url,
            newer=newest if newest and is_older(self._host.version, newest.version) else None,
        )

    def _dispatch(self, event: Event) -> None:
        match event:
            case ev.Started():
                self.account.watch_days(self.now)
                if self.state is State.CONNECTING:
                    self.proceed()
            case ev.VaultRead() | ev.VaultWritten() | ev.VaultFailed():
                if request := self.vault.take(event.number):
                    self._on_vault_answer(request, event)
            case ev.Connected():
                self.connection.on_connected()
                self.proceed()
            case ev.Disconnected(_, failure):
                self.connection.on_disconnected()
                self.lost(failure)
            case ev.Received(_, message):
                self._on_message(message)
            case ev.ProofReady(_, proof):
                self.connection.on_proof(proof)
            case ev.ProofRefused(_, failure):
                self.lost(failure)
            case ev.TimerFired(timer):
                self._on_timer(timer)
            case ev.SignedIn():
                self._on_signed_in(event)
            case ev.NetworkChanged():
                self._on_network_changed()
            case ev.UserLeft():
                self.warnings.on_user_left()
            case ev.WarningAnswered(days, outcome):
                self.warnings.on_outcome(days, outcome, self.now)
                self.send_notice()
            case ev.LoginRequested():
                self.vault.forgive(event.identity, event.password)
                self.change.on_requested(event)
            case ev.ReconnectRequested():
                if self.state in MAY_RECONNECT:
                    self.disconnect()
                    self.proceed()
            case ev.LogoutRequested(request):
                self._on_logout(request)
            case ev.Suspending() if self.connection.is_up:  # NetworkChanged comes at the resume
                self.disconnect("sleep")
                self.lost(Failure(Reason.CONNECTION_LOST, SLEEP_S, "the PC goes to sleep"))
            case ev.SessionEnding(farewell):
                self._session_ends = farewell
            case ev.QuitRequested(farewell):
                self._on_quit(self._session_ends or farewell)

    def _on_network_changed(self) -> None:
        if self.connection.is_up:
            self.emit(do.Probe(self.connection.number))
        elif self.state is State.RETRYING:
            self.hurry()

    def _on_timer(self, timer: Timer) -> None:
        match timer:
            case Timer.RETRY if self.state is State.RETRYING:
                self.proceed()
            case Timer.CONNECTION if self.connection.awaits_answer:
                self.lost(Failure(Reason.TIMED_OUT, detail=self.connection.phase.value))
            case Timer.VAULT_ANSWER:
                for request in self.vault.on_late():
                    self._on_vault_failed(request, Reason.VAULT_NO_ANSWER)
            case Timer.VAULT_RETRY:
                self._on_vault_retry()
            case Timer.WARNING:
                self.warn()
            case Timer.TOAST:
                self.warnings.on_late(self.now)
                self.send_notice()
            case Timer.MIDNIGHT:
                self.account.watch_days(self.now)

    # --- the server's messages

    def _on_message(self, message: msg.ServerMessage) -> None:
        """Handle a message that the protocol allows now; else close the connection."""
        connection = self.connection
        attempt = connection.attempt
        match message:
            case msg.Challenge(scram=text) if attempt and connection.phase is Phase.CHALLENGE:
                connection.on_challenge(attempt, text)
            case msg.Welcome() if attempt and connection.phase is Phase.WELCOME:
                try:
                    attempt.handshake.verify(message.scram)
                except ScramError as exc:
                    self.lost(failure_of(exc))
                else:
                    self.newest = message.newest
                    self.vault.cache_keys(attempt.handshake.keys)
                    connection.on_welcome(attempt)
                    self.on_accepted(attempt.kind, message)
            case msg.Rejected():
                self._on_rejected(message)
            case msg.PasswordChanged() if connection.accepted and connection.has_signed(message):
                self.set_accepted(message)
                self.on_push(message)
            case msg.PasswordChanged() if connection.accepted:
                self.lost(Failure(Reason.IMPOSTOR, detail="a push that is not signed"))
            case msg.PasswordStatus() if connection.accepted:
                self.set_accepted(message)
                self.proceed()
            case msg.Bye(reason=reason, retry_after_s=retry_after_s):
                if reason == "superseded" and connection.accepted:
                    self.vault.on_superseded(self.now)
                self.lost(Failure(Reason(reason), retry_after_s))
            case _:
                self.lost(Failure(Reason.PROTOCOL, detail="a message out of order"))

    def _on_rejected(self, message: msg.Rejected) -> None:
        connection = self.connection
        attempt = connection.attempt
        match message.reason:
            case "expired" if connection.accepted is not None:
                # The login in force has expired. A login in progress is tried again.
                if attempt is None and self.change.typed is None:
                    self.vault.refuse_stored("expired")
                self.disconnect()
                self.proceed()
            case "credentials" | "expired" if attempt and connection.phase is Phase.WELCOME:
                usable = connection.on_refused() and message.reason == "credentials"
                self.on_refused(attempt.kind, attempt.password, message.reason, usable=usable)
            case "credentials" | "expired":
                self.lost(Failure(Reason.PROTOCOL, detail="refused what was not tried"))
            case reason:
                self.newest = message.newest or self.newest
                self.lost(Failure(Reason(reason), message.retry_after_s))

    # --- the vault's answers

    def _on_vault_answer(
        self, request: VaultRequest, answer: ev.VaultRead | ev.VaultWritten | ev.VaultFailed
    ) -> None:
        if isinstance(answer, ev.VaultFailed):
            self._on_vault_failed(request, answer.reason)
            return
        self.vault.problem = None
        if isinstance(answer, ev.VaultRead):
            self._on_vault_read(answer.credentials)
        elif request.user_request is not None:
            self.emit(do.Reply(request.user_request, None))
        elif request.reason is WriteReason.TYPED and self.change.typed is not None:
            self.on_typed_stored(self.change.typed)
        elif request.reason is not None:
            if (request.reason, self.change.progress) == (WriteReason.COMMIT, Progress.PROVED):
                self.emit(do.TellReceived())
            self._after_write(request)

    def _on_vault_read(self, credentials: Credentials | None) -> None:
        self.vault.on_read(credentials)
        if self.change.progress is Progress.READING:
            self.log_in_with_typed()
        elif self.state is State.CONNECTING or self.connection.phase is Phase.LOGGED_IN:
            self.proceed()

    def _on_read_failed(self, reason: Reason) -> None:
        self.vault.problem = reason
        self.vault.go("read failed")
        if self.change.progress is Progress.READING:
            self.log_in_with_typed()
        elif self.state is State.CONNECTING and self.connection.phase is Phase.NONE:
            self.retry_later(Failure(reason))
        else:
            self.retry_vault_later()

    def _on_vault_failed(self, request: VaultRequest, reason: Reason) -> None:
        if isinstance(request.effect, do.ReadVault):
            self._on_read_failed(reason)
            return
        silent = reason is Reason.VAULT_NO_ANSWER
        if silent:
            self.vault.go("no answer in time")
        if request.user_request is not None:
            self.emit(do.Reply(request.user_request, reason))
        elif request.reason is WriteReason.TYPED:
            if silent and request.effect.identity != self.account.identity:
                self.vault.delete(request.effect.identity)  # the write may still take place
            self.change.end_typed(reason)
            self.disconnect()
            self.proceed()
        if request.push is not None and self.vault.withdraw_pending(request.push.change_id):
            self.postpone_push(request.push)
        if silent or request.reason not in {None, WriteReason.TYPED}:
            self.vault.problem = reason
            self.retry_vault_later()
            self._after_write(request)

    def _after_write(self, request: VaultRequest) -> None:
        change = self.change
        writes = {Progress.PUSHED: WriteReason.PENDING, Progress.PROVED: WriteReason.COMMIT}
        awaited = writes.get(change.progress)
        if awaited and awaited is request.reason and not self.vault.is_writing(awaited):
            change.end()
        if self.connection.is_up:
            self.proceed()

    def _on_vault_retry(self) -> None:
        """Read an unreadable vault again, take the push that waits, or repeat a failed write."""
        vault = self.vault
        if vault.knowledge is Knowledge.UNREADABLE:
            vault.read()
        elif self.change.progress is not Progress.NONE:
            self.retry_vault_later()
        elif not self.take_push() and vault.problem and vault.credentials:
            vault.write(vault.credentials, WriteReason.COMMIT)

    def _on_logout(self, request: int) -> None:
        account = self.account
        self.disconnect()
        self.give_up_change()
        self.vault.forget()
        self.warnings.withdraw()
        self.emit(do.StopTimer(Timer.VAULT_RETRY))
        if account.identity == NO_IDENTITY:
            self.emit(do.Reply(request, None))
        else:
            self.vault.delete(account.identity, user_request=request)
        account.set_old_password(None, self.now)
        account.remember(asked_session=None, logged_out=True)
        self.go("logged out")

    def _on_quit(self, farewell: msg.Farewell) -> None:
        self.give_up_change()
        self.disconnect(farewell)
        self.warnings.withdraw()
        self.emit(do.Quit())
        self.go("quit")

    def _on_signed_in(self, event: ev.SignedIn) -> None:
        self.warnings.on_signed_in(event)
        if self.state in {State.STANDBY, State.STANDBY_OLD_PASSWORD}:
            self.warn()
        elif self.state is State.NEEDS_PASSWORD and self.failure is not None:
            self.warnings.ask(self.failure.reason)
        elif self.state is State.LOGGED_OUT:
            self.ask_to_log_in()
        else:
            self.warnings.wait_for_server()
        if event.kind is not ev.SignInKind.SIGN_IN:
            self._on_network_changed()
