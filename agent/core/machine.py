"""The client's decisions: an event and the time go in, effects come out.

Theory of operation
-------------------

Four small machines and the account context have the client's state. Each owns one thing, and
changes its state by a transition table (transitions.py), from which the diagrams in
docs/architecture.md are made:

    connection   ConnectionState    the connection, the login on it, its deadline
    vault        CredentialCache    what the vault holds, requests to it, refused passwords
    change       PasswordChange     a new password, pushed or typed, until it is stored
    warnings     PasswordWarnings   sign-ins, warnings, notices to the server
    account      AccountContext     identity, saved state, the server's clock (no table)

`ClientState` owns the five. It has the state that the user sees (state.py), and `proceed`, which
takes the next step that the states of the small machines ask for. `Machine` owns the ClientState:
it takes the events, finds out what each means, and tells ClientState.

Calls go one way only: the runtime calls `Machine.handle`; Machine calls ClientState and the small
machines; ClientState calls the small machines; they call the effect queue, and two of them read the
account context. None calls back. A method returns what its caller has to know.

Every state that waits for an answer has a deadline: a timer of the connection, of the vault, or of
the warning. RETRYING has the retry timer. The other states wait for the user or for the server.

An exception out of `handle` is a defect of the program. Then no effect of that event is performed
and the Machine is dead: its state is STOPPED, and it ignores every event. Its owner ends the
program with an exit code. The vault's content is whole at any moment, so the next start goes on.
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

SLEEP_S = 60.0
"""Seconds until the next try if the PC goes to sleep and neither sleeps nor resumes."""


class Machine:
    """One client. Not thread-safe: its owner calls `handle` from one thread."""

    def __init__(self, host: HostInfo, identity: Identity | None, saved_state: SavedState) -> None:
        self.client = ClientState(host, identity or NO_IDENTITY, saved_state)
        self._session_ends: msg.Farewell | None = None

    @property
    def state(self) -> State:
        return self.client.state

    def handle(self, event: Event, now: Instant) -> list[Effect]:
        """Return what to do about `event`, in order. An exception means that the Machine is dead.

        Ignore the late events of earlier connections, and everything after the end.
        """
        client = self.client
        client.now = now
        number = getattr(event, "connection", None)
        if self.state is State.STOPPED or number not in {None, client.connection.number}:
            return []
        try:
            self._dispatch(event)
            client.begin_typed()
        except Exception:
            client.state = State.STOPPED
            raise
        return client.emit.take()

    def view(self, now: Instant) -> View:
        """Return what to show. It holds no secret."""
        client, saved = self.client, self.client.account.saved_state
        typed = client.change.typed
        identity = typed.identity if typed else client.account.identity
        in_use = self.state in IN_USE
        return View(
            state=self.state,
            reason=client.failure.reason if client.failure else None,
            server=identity.server,
            user=identity.user,
            days_left=client.account.days_left(now) if in_use else None,
            valid_until=client.account.old_valid_until if in_use else None,
            next_try_at=client.next_try_at,
            vault_problem=client.vault.problem,
            console_url=saved.console_url,
            newer=client.newer,
        )

    def _dispatch(self, event: Event) -> None:
        client = self.client
        match event:
            case ev.Started():
                client.account.watch_days(client.now)
                if self.state is State.CONNECTING:
                    client.proceed()
            case ev.VaultRead(number, credentials):
                if client.vault.take(number):
                    self._on_vault_read(credentials)
            case ev.VaultWritten(number):
                if request := client.vault.take(number):
                    self._on_vault_written(request)
            case ev.VaultFailed(number, reason):
                if request := client.vault.take(number):
                    self._on_vault_failed(request, reason)
            case ev.Connected():
                client.connection.on_connected()
                client.proceed()
            case ev.Disconnected(_, failure):
                client.connection.on_disconnected()
                client.lost(failure)
            case ev.Received(_, message):
                self._on_message(message)
            case ev.ProofReady(_, proof):
                client.connection.on_proof(proof)
            case ev.ProofRefused(_, failure):
                client.lost(failure)
            case ev.TimerFired(timer):
                self._on_timer(timer)
            case ev.SignedIn():
                self._on_signed_in(event)
            case ev.NetworkChanged():
                self._on_network_changed()
            case ev.UserLeft():
                client.warnings.on_user_left()
            case ev.WarningAnswered(days, outcome):
                client.warnings.on_outcome(days, outcome, client.now)
                client.send_notice()
            case ev.LoginRequested():
                client.vault.forgive(event.identity, event.password)
                client.change.on_requested(event)
            case ev.ReconnectRequested():
                if self.state in MAY_RECONNECT:
                    client.disconnect()
                    client.proceed()
            case ev.LogoutRequested():
                self._on_logout(event.request)
            case _:
                self._on_leaving(event)

    def _on_leaving(self, event: Event) -> None:
        client = self.client
        if isinstance(event, ev.SessionEnding):
            self._session_ends = event.farewell
        elif isinstance(event, ev.QuitRequested):
            client.give_up_change()
            client.disconnect(self._session_ends or event.farewell)
            client.warnings.withdraw()
            client.emit(do.Quit())
            client.go("quit")
        elif client.connection.is_up:  # Suspending; NetworkChanged says that the PC has resumed
            client.disconnect("sleep")
            client.lost(Failure(Reason.CONNECTION_LOST, SLEEP_S, "the PC goes to sleep"))

    # --- the network, timers

    def _on_network_changed(self) -> None:
        client = self.client
        if client.connection.is_up:
            client.emit(do.Probe(client.connection.number))
        elif self.state is State.RETRYING:
            client.hurry()

    def _on_timer(self, timer: Timer) -> None:
        client = self.client
        match timer:
            case Timer.RETRY if self.state is State.RETRYING:
                client.proceed()
            case Timer.CONNECTION if client.connection.awaits_answer:
                client.lost(Failure(Reason.TIMED_OUT, detail=client.connection.phase.value))
            case Timer.VAULT_ANSWER:
                for request in client.vault.on_late():
                    self._on_vault_failed(request, Reason.VAULT_NO_ANSWER)
            case Timer.VAULT_RETRY:
                self._on_vault_retry()
            case Timer.WARNING:
                client.warn()
            case Timer.TOAST:
                client.warnings.on_late(client.now)
                client.send_notice()
            case Timer.MIDNIGHT:
                client.account.watch_days(client.now)

    # --- the server's messages

    def _on_message(self, message: msg.ServerMessage) -> None:
        """Take a message where the protocol allows it; else leave the server."""
        client, connection = self.client, self.client.connection
        attempt = connection.attempt
        match message:
            case msg.Challenge(scram=text) if attempt and connection.phase is Phase.CHALLENGE:
                connection.on_challenge(attempt, text)
            case msg.Welcome() if attempt and connection.phase is Phase.WELCOME:
                try:
                    attempt.handshake.verify(message.scram)
                except ScramError as exc:
                    client.lost(failure_of(exc))
                else:
                    client.newest = message.newest
                    client.vault.cache_keys(attempt.handshake.keys)
                    connection.on_welcome(attempt)
                    client.on_accepted(attempt.kind, message)
            case msg.Rejected():
                self._on_rejected(message)
            case msg.PasswordChanged() if connection.accepted and connection.has_signed(message):
                client.set_accepted(message)
                client.on_push(message)
            case msg.PasswordChanged() if connection.accepted:
                client.lost(Failure(Reason.IMPOSTOR, detail="a push that is not signed"))
            case msg.PasswordStatus() if connection.accepted:
                client.set_accepted(message)
                client.proceed()
            case msg.Bye(reason=reason, retry_after_s=retry_after_s):
                if reason == "superseded" and connection.accepted:
                    client.vault.on_superseded(client.now)
                client.lost(Failure(Reason(reason), retry_after_s))
            case _:
                client.lost(Failure(Reason.PROTOCOL, detail="a message out of order"))

    def _on_rejected(self, message: msg.Rejected) -> None:
        client, connection = self.client, self.client.connection
        attempt = connection.attempt
        match message.reason:
            case "expired" if connection.accepted is not None:
                self._on_expired()
            case "credentials" | "expired" if attempt and connection.phase is Phase.WELCOME:
                usable = connection.on_refused() and message.reason == "credentials"
                client.on_refused(attempt.kind, attempt.password, message.reason, usable=usable)
            case "credentials" | "expired":
                client.lost(Failure(Reason.PROTOCOL, detail="refused what was not tried"))
            case reason:
                client.newest = message.newest or client.newest
                client.lost(Failure(Reason(reason), message.retry_after_s))

    def _on_expired(self) -> None:
        """Go on after the login in force has expired, or the one in progress: try that again."""
        client = self.client
        if client.connection.attempt is None and client.change.typed is None:
            client.vault.refuse_stored("expired")
        client.disconnect()
        client.proceed()

    # --- the vault's answers

    def _on_vault_read(self, credentials: Credentials | None) -> None:
        client = self.client
        client.vault.problem = None
        client.vault.on_read(credentials)
        if client.change.progress is Progress.READING:
            client.log_in_with_typed()
        elif self.state is State.CONNECTING or client.connection.phase is Phase.LOGGED_IN:
            client.proceed()

    def _on_read_failed(self, reason: Reason) -> None:
        client = self.client
        client.vault.problem = reason
        client.vault.go("read failed")
        if client.change.progress is Progress.READING:
            client.log_in_with_typed()
        elif self.state is State.CONNECTING and client.connection.phase is Phase.NONE:
            client.retry_later(Failure(reason))
        else:
            client.retry_vault_later()

    def _on_vault_written(self, request: VaultRequest) -> None:
        client = self.client
        client.vault.problem = None
        if request.user_request is not None:
            client.emit(do.Reply(request.user_request, None))
        elif request.reason is WriteReason.TYPED and client.change.typed is not None:
            client.on_typed_stored(client.change.typed)
        elif request.reason is not None:
            if (request.reason, client.change.progress) == (WriteReason.COMMIT, Progress.PROVED):
                client.emit(do.TellReceived())
            self._after_write(request)

    def _on_vault_failed(self, request: VaultRequest, reason: Reason) -> None:
        client = self.client
        if isinstance(request.effect, do.ReadVault):
            self._on_read_failed(reason)
            return
        silent = reason is Reason.VAULT_NO_ANSWER
        if silent:
            client.vault.go("no answer in time")
        if request.user_request is not None:
            client.emit(do.Reply(request.user_request, reason))
        elif request.reason is WriteReason.TYPED:
            if silent and request.effect.identity != client.account.identity:
                client.vault.delete(request.effect.identity)  # it may still be written
            client.change.end_typed(reason)
            client.disconnect()
            client.proceed()
        if request.push is not None and client.vault.withdraw_pending(request.push.change_id):
            client.postpone_push(request.push)
        if silent or request.reason not in {None, WriteReason.TYPED}:
            client.vault.problem = reason
            client.retry_vault_later()
            self._after_write(request)

    def _after_write(self, request: VaultRequest) -> None:
        client, change = self.client, self.client.change
        writes = {Progress.PUSHED: WriteReason.PENDING, Progress.PROVED: WriteReason.COMMIT}
        awaited = writes.get(change.progress)
        if awaited and awaited is request.reason and not client.vault.is_writing(awaited):
            change.end()
        if client.connection.is_up:
            client.proceed()

    def _on_vault_retry(self) -> None:
        """Read what is not known, take the push that waits, or repeat the write that failed."""
        client, vault = self.client, self.client.vault
        if vault.knowledge is Knowledge.UNREADABLE:
            vault.read()
        elif client.change.progress is not Progress.NONE:
            client.retry_vault_later()
        elif not client.take_push() and vault.problem and vault.credentials:
            vault.write(vault.credentials, WriteReason.COMMIT)

    # --- what the user wants

    def _on_logout(self, request: int) -> None:
        client, account = self.client, self.client.account
        client.disconnect()
        client.give_up_change()
        client.vault.forget()
        client.warnings.withdraw()
        client.emit(do.StopTimer(Timer.VAULT_RETRY))
        if account.identity == NO_IDENTITY:
            client.emit(do.Reply(request, None))
        else:
            client.vault.delete(account.identity, user_request=request)
        account.set_old_password(None, client.now)
        account.remember(asked_session=None, logged_out=True)
        client.go("logged out")

    def _on_signed_in(self, event: ev.SignedIn) -> None:
        client = self.client
        client.warnings.on_signed_in(event)
        if self.state in {State.STANDBY, State.STANDBY_OLD_PASSWORD}:
            client.warn()
        elif self.state is State.NEEDS_PASSWORD and client.failure is not None:
            client.warnings.ask(client.failure.reason)
        elif self.state is State.LOGGED_OUT:
            client.ask_to_log_in()
        else:
            client.warnings.wait_for_server()
        if event.kind is not ev.SignInKind.SIGN_IN:
            self._on_network_changed()
