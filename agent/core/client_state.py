"""The client as a whole: its small machines, the state that the user sees, and the next step.

`proceed` is the heart of the client. It looks at the small machines and takes the one step that
their states ask for: read the vault, connect, log in, enter standby, or ask the user. It does
nothing while an answer is awaited. Every handler of `Machine` notes what has happened and then
calls `proceed`, `lost` or `retry_later`. So the next step does not depend on the order of events.

`Machine` (machine.py) calls this class. It calls the small machines and never `Machine`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from agent.core import backoff
from agent.core import effects as do
from agent.core.account_context import AccountContext
from agent.core.connection_state import ConnectionState, Kind, LoginAttempt, PasswordNews, Phase
from agent.core.credential_cache import CredentialCache, Knowledge
from agent.core.credentials import (
    NO_IDENTITY,
    Credentials,
    CredentialsError,
    Identity,
    Pending,
    Refusal,
)
from agent.core.effects import EffectQueue, WriteReason
from agent.core.events import Instant, Timer
from agent.core.failure import Failure, Reason
from agent.core.host_info import HostInfo
from agent.core.password_change import PasswordChange, Progress, TypedPassword
from agent.core.password_warnings import PasswordWarnings
from agent.core.saved_state import SavedState
from agent.core.state import TABLE, State
from protocol import messages as msg
from protocol.scram import ClientLogin, ScramError
from protocol.sealing import SealError, public_key

STEADY_S = 60.0
"""Seconds that a login must last before the delays begin again with the shortest. Otherwise all
clients would come back at once, again and again, to a server that accepts logins and then fails."""


class ClientState:
    """The state of one client, and what it does next."""

    def __init__(self, host: HostInfo, identity: Identity, saved_state: SavedState) -> None:
        self._host = host
        self._accepted_at: float | None = None
        self.emit = EffectQueue()
        self.now = Instant(datetime.min.replace(tzinfo=UTC), 0.0)
        self.account = AccountContext(identity, saved_state, local=host.local, emit=self.emit)
        self.vault = CredentialCache(
            self.account, self.emit, salt=host.nonce(), machine=host.machine
        )
        self.connection = ConnectionState(self.emit)
        self.change = PasswordChange(self.emit, machine=host.machine)
        self.warnings = PasswordWarnings(self.account, self.emit)
        self.state = TABLE.first
        self.why = "start"  # the reason of the last change of the state, for the log
        self.failure: Failure | None = None  # what is wrong, if anything
        self.next_try_at: datetime | None = None
        self.tries = 0  # failures in a row
        self._failed_at = 0.0
        self.newest: msg.Release | None = None  # newest version of the client that the server knows

    def go(self, trigger: str) -> None:
        """Change the state by `trigger`, and forget the failure that led to the former state."""
        if self.state is State.RETRYING:
            self.emit(do.StopTimer(Timer.RETRY))
        self.state = TABLE.next(self.state, trigger)
        self.why = trigger
        self.failure, self.next_try_at = None, None

    # --- the next step

    def proceed(self) -> None:
        """Take the next step, unless an answer is awaited."""
        connection, vault, typed = self.connection, self.vault, self.change.typed
        if connection.awaits_answer or self.change.waits_for_vault:
            return
        if not connection.is_up:
            self._connect()
        elif typed is not None:
            self._log_in(Kind.TYPED, typed.credentials)
        elif (proposal := vault.proposal) is not None:
            if connection.phase is Phase.LOGGED_IN:
                self.go("new password to prove")
            self.change.go("pending password to prove")
            self._log_in(Kind.PENDING, proposal)
        elif vault.refusal is not None:
            self._ask_for_password(vault.refusal)
        elif connection.phase is Phase.LOGGED_IN:
            self._enter_standby()
        elif vault.credentials is not None and vault.credentials.refused is None:
            self._log_in(Kind.STORED, vault.credentials)
        # else the only usable password is a pushed one, which the vault is still storing

    def _connect(self) -> None:
        """Open a connection; or read the vault first; or ask the user for a password."""
        vault = self.vault
        if self.change.typed is not None:
            self.connection.open(self.change.typed.identity)
        elif vault.refusal is not None:
            self._ask_for_password(vault.refusal)
        elif vault.knowledge is Knowledge.ABSENT:
            self.go("nothing stored")
            self.ask_to_log_in()
        else:
            self.go("time to try")
            if vault.credentials is not None:
                self.connection.open(self.account.identity)
            else:
                vault.read()

    def _log_in(self, kind: Kind, credentials: Credentials) -> None:
        password = credentials.password
        try:
            handshake = ClientLogin(
                user=self.connection.identity.user,
                password=password,
                nonce=self._host.nonce(),
                known=self.vault.keys,
            )
        except ScramError:  # no server can have this name or password
            self.on_refused(kind, password, "credentials", usable=True)
        else:
            device = self._host.device(public_key(credentials.device_key))
            self.connection.log_in(LoginAttempt(kind, password, handshake), device)

    def _enter_standby(self) -> None:
        """Enter standby, with the current or an old password, and take the push that waits."""
        accepted = self.connection.accepted
        if accepted is not None and accepted.valid_until is None:
            self.go("logged in with the current password")
            self.warnings.withdraw()
        else:
            self.go("logged in with an old password")
            self.warnings.wait_for_push()
        self.account.watch_days(self.now)
        self.send_notice()
        if self.vault.problem is None:
            self.take_push()

    def _ask_for_password(self, refusal: Refusal) -> None:
        """Wait for the user, because every known password was refused."""
        self.disconnect()
        self.go("stored password refused")
        self.failure = Failure(Reason(refusal))
        self.account.set_old_password(None, self.now)
        self.warnings.withdraw()
        self.warnings.ask(self.failure.reason)

    def ask_to_log_in(self) -> None:
        """Tell the user, if known and not logged out, that no password is stored."""
        if self.account.identity != NO_IDENTITY and not self.account.saved_state.logged_out:
            self.warnings.ask(None)

    # --- disconnects and retries

    def disconnect(self, farewell: msg.Farewell | None = None) -> None:
        """Close the connection, if there is one, and tell the server why the client leaves."""
        if self._accepted_at is not None and self.now.steady - self._accepted_at >= STEADY_S:
            self.tries = 0
        self._accepted_at = None
        self.change.on_disconnected()
        self.connection.close(farewell)

    def lost(self, failure: Failure) -> None:
        """Give up the connection, and the typed password unless it is accepted already."""
        if self.change.typed is None:
            self.retry_later(failure)
            return
        self.disconnect()
        if self.change.progress is not Progress.PROVED:
            self.change.end_typed(failure.reason)
            self.proceed()

    def retry_later(self, failure: Failure) -> None:
        """Enter RETRYING, with `failure` as its reason, and try again after a delay."""
        self.disconnect()
        if failure.reason is Reason.CERTIFICATE:
            self.account.doubt_clock()
        delay = backoff.delay_s(failure, tries=self.tries, random=self._host.random())
        self.tries += 1
        self.go("trouble")
        self.failure, self._failed_at = failure, self.now.steady
        self._try_in(delay)

    def hurry(self) -> None:
        """Try again soon, if a change of the network may end the failure."""
        if self.failure is not None and self.failure.may_end_with_network:
            since_s, random = self.now.steady - self._failed_at, self._host.random()
            self._try_in(backoff.prompt_s(self.failure, since_s=since_s, random=random))

    def retry_vault_later(self) -> None:
        self.emit(do.StartTimer(Timer.VAULT_RETRY, backoff.vault_s(random=self._host.random())))

    def _try_in(self, delay_s: float) -> None:
        self.next_try_at = self.now.wall + timedelta(seconds=delay_s)
        self.emit(do.StartTimer(Timer.RETRY, delay_s))

    # --- passwords: accepted, refused, typed, pushed

    def on_accepted(self, kind: Kind, welcome: msg.Welcome) -> None:
        """Go on after the server has accepted a password and proved that it knows the verifier."""
        vault, typed = self.vault, self.change.typed
        if self._accepted_at is None:
            self._accepted_at = self.now.steady
        if typed is not None:
            if welcome.password == "old":
                self.lost(Failure(Reason.OLD_PASSWORD))
                return
            self.change.on_proved()
            typed.console_url = welcome.console_url
            self.set_accepted(welcome)
            vault.write_typed(typed.identity, typed.credentials)
            return
        self.set_accepted(welcome)
        self.account.remember_server(welcome.console_url)
        if kind is Kind.PENDING:
            # The pending password is newer than the stored one, even if it is already old itself.
            self.change.on_proved()
            if not vault.commit_pending():
                self.change.end()
        elif vault.pending is not None and vault.pending.refused:
            self._drop_pending(vault.pending)
        self.proceed()

    def set_accepted(self, news: PasswordNews) -> None:
        """Keep what the server says about the password of the login in force."""
        if not isinstance(news, msg.PasswordChanged):
            self.account.set_server_time(news.server_time, self.now)
        self.connection.accepted = news
        if not self.change.is_typed_proved:  # the login may be of another account
            self.account.set_old_password(news.valid_until, self.now)

    def on_refused(self, kind: Kind, password: str, refusal: Refusal, *, usable: bool) -> None:
        """Go on after a refusal. `usable`: the server takes another login on this connection."""
        identity = self.connection.identity
        if kind is Kind.TYPED:
            self.change.end_typed(Reason(refusal))
            usable = usable and self.connection.accepted is not None
        elif kind is Kind.PENDING:
            self.change.end()
            if self.connection.accepted is not None and self.vault.pending is not None:
                self._drop_pending(self.vault.pending)
        self.vault.refuse(identity, password, refusal)
        if not usable:
            self.disconnect()
        self.proceed()

    def _drop_pending(self, pending: Pending) -> None:
        """Forget a pushed password that the server has refused, and tell the server."""
        self.vault.drop_pending()
        self.connection.send(msg.UpdateFailed(change_id=pending.change_id, reason="refused"))

    def begin_typed(self) -> None:
        """Start the change to a typed password that waits, unless another change runs."""
        typed = self.change.take_request()
        if typed is None:
            return
        same, vault = typed.identity == self.account.identity, self.vault
        read_first = same and vault.credentials is None and vault.knowledge is not Knowledge.ABSENT
        self.change.go("password typed, vault not read" if read_first else "password typed")
        self.go("new password to prove")
        if self.connection.phase is not Phase.LOGGED_IN or not same:
            self.disconnect()
        if read_first:
            vault.read()
        else:
            self.log_in_with_typed()

    def log_in_with_typed(self) -> None:
        """Log in with the typed password, and the vault's device key or else the request's."""
        typed, stored = self.change.typed, self.vault.credentials
        if self.change.progress is Progress.READING:
            self.change.go("vault read, or unreadable")
        if typed and stored and typed.identity == self.account.identity:
            typed.credentials = replace(typed.credentials, device_key=stored.device_key)
        self.proceed()

    def on_typed_stored(self, typed: TypedPassword) -> None:
        """Switch to the identity of the typed password, which the vault has stored."""
        before = self.account.identity
        if before != typed.identity:
            self.account.change_identity(typed.identity)
            if before != NO_IDENTITY:
                self.vault.delete(before)
        self.emit(do.SaveIdentity(typed.identity))
        self.vault.on_typed_stored(typed.credentials)
        accepted = self.connection.accepted
        self.account.set_old_password(accepted.valid_until if accepted else None, self.now)
        self.account.remember(asked_session=None, logged_out=False)
        self.account.remember_server(typed.console_url)
        self.warnings.withdraw()
        self.change.end_typed(None)
        self.proceed()

    def give_up_change(self) -> None:
        """End the change; leave nothing of another account in the vault."""
        typed = self.change.typed
        if typed and self.change.is_typed_proved and typed.identity != self.account.identity:
            self.vault.delete(typed.identity)
        self.change.give_up()

    def on_push(self, push: msg.PasswordChanged) -> None:
        """Store a pushed password as pending, or keep the push until that can be done."""
        credentials, pending = self.vault.credentials, self.vault.pending
        if pending is not None and pending.change_id == push.change_id:
            return
        busy = self.change.progress is not Progress.NONE or self.connection.attempt is not None
        if busy or credentials is None or self.vault.knowledge is not Knowledge.KNOWN:
            self.change.keep_push(push)
            return
        try:
            pending = self.change.begin_push(push, credentials)
        except (SealError, CredentialsError) as exc:
            self.connection.send(
                msg.UpdateFailed(
                    change_id=push.change_id,
                    reason="unreadable" if isinstance(exc, SealError) else "vault",
                )
            )
            self.proceed()
        else:
            self.go("new password to prove")
            self.vault.forgive(self.account.identity, pending.password)
            updated = replace(credentials, pending=pending)
            self.vault.write(updated, WriteReason.PENDING, push=push)

    def postpone_push(self, push: msg.PasswordChanged) -> None:
        """Tell the server that a push could not be stored, and keep it for another try."""
        if self.connection.accepted is not None:
            self.connection.send(msg.UpdateFailed(change_id=push.change_id, reason="vault"))
            self.change.keep_push(push, newest=False)

    def take_push(self) -> bool:
        """Go on with the push that waits. Return whether a push did wait."""
        push = self.change.take_push()
        if push is not None:
            self.on_push(push)
        return push is not None

    # --- warnings

    def warn(self) -> None:
        """Decide about the sign-ins that wait for a warning; during a change, wait for its end."""
        if self.change.progress is not Progress.NONE:
            self.warnings.wait_for_server()
            return
        self.warnings.decide(self.now, online=self.connection.accepted is not None)
        self.send_notice()

    def send_notice(self) -> None:
        if self.connection.accepted is not None and (notice := self.warnings.take_notice()):
            self.connection.send(notice)
