"""Which password is tried, and what follows from the server's answers to it.

Pending before stored, a user's candidate before both; nothing that was refused. What a connection
is good for is said by its standing login.
"""

from __future__ import annotations

from typing import Protocol

from msgspec.structs import replace

from agent.core import effects as do
from agent.core.credentials import Credentials, Identity, Refusal
from agent.core.effects import EffectQueue
from agent.core.events import Instant, Step
from agent.core.failure import Failure, Reason, failure_of
from agent.core.host_info import HostInfo
from agent.core.link import Kind, Link
from agent.core.remembered import AccountContext
from agent.core.state import State, Trigger
from agent.core.stored import CredentialCache
from agent.core.updates import Updates
from protocol import messages as msg
from protocol.scram import ClientLogin, ScramError
from protocol.sealing import public_key


class Host(Protocol):
    """What a login needs of the machine."""

    state: State
    now: Instant
    pc: HostInfo

    def go(self, trigger: Trigger) -> None: ...
    def connect(self, identity: Identity) -> None: ...
    def try_now(self) -> None: ...
    def try_stored(self) -> None: ...
    def lost(self, failure: Failure) -> None: ...
    def succeeded(self) -> None: ...
    def needs_password(self, refusal: Refusal) -> None: ...
    def warn(self) -> None: ...


class Logins:
    """Logins on whatever connection there is; `updates` has the new passwords."""

    def __init__(
        self,
        host: Host,
        updates: Updates,
        *,
        link: Link,
        stored: CredentialCache,
        remembered: AccountContext,
        outbox: EffectQueue,
    ) -> None:
        self._host = host
        self._updates = updates
        self._link = link
        self._stored = stored
        self._remembered = remembered
        self._do = outbox

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
            self._host.needs_password(record.refused)

    def _attempt(self, kind: Kind, identity: Identity, record: Credentials) -> None:
        pc = self._host.pc
        try:
            handshake = ClientLogin(
                user=identity.user,
                password=record.password,
                nonce=pc.nonce(),
                known=self._stored.keys,
            )
        except ScramError:
            self._refused(kind, "credentials", goes_on=True)
        else:
            self._link.log_in(kind, handshake, pc.device(public_key(record.device_key)))

    def received(self, message: msg.ServerMessage) -> None:
        """What the server says, and where it may say it."""
        match message:
            case msg.Challenge(scram=challenge) if self._link.expects("challenge"):
                self._link.challenged(challenge)
            case msg.Welcome() if self._link.expects("welcome"):
                self._welcome(message)
            case msg.Rejected():
                self._rejected(message)
            case msg.PasswordChanged() if self._link.standing and self._link.has_signed(message):
                self._updates.pushed(message)
            case msg.PasswordChanged() if self._link.standing:
                self._host.lost(Failure(Reason.IMPOSTOR, detail="a push that is not signed"))
            case msg.PasswordStatus() if self._link.standing:
                self.stand(message)
                if self._host.state is not State.UPDATING:
                    self.settle()
            case msg.Bye(reason=reason, retry_after_s=retry_after_s):
                self._host.lost(Failure(Reason(reason), retry_after_s))
            case _:
                self._host.lost(Failure(Reason.PROTOCOL, detail="a message out of order"))

    def _welcome(self, message: msg.Welcome) -> None:
        attempt, record = self._link.attempt, self._stored.record
        if attempt is None:
            return
        try:
            attempt.handshake.verify(message.scram)
        except ScramError as exc:
            self._host.lost(failure_of(exc))
            return
        self._stored.learn(attempt.handshake.keys)
        self._link.welcomed()
        self._host.succeeded()
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
            self._stored.write(
                replace(record, password=password, pending=None, refused=None), Step.COMMIT
            )
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
            self._remembered.hear(status.server_time, self._host.now)
        if self._updates.candidate is None or not self._updates.candidate.proven:
            self._remembered.remember(old_valid_until=status.valid_until)

    def settle(self) -> None:
        """Logged in, with nothing in flight: be what the standing login says, then go on."""
        standing = self._link.standing
        if standing is None or self._link.attempt is not None or self._updates.candidate:
            return
        if standing.password == "current":
            self._host.go(Trigger.LOGGED_IN)
            self._do(do.WithdrawWarning())
        else:
            self._host.go(Trigger.LOGGED_IN_OLD)
        self._remembered.watch_days(self._host.now)
        self._host.warn()
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
                self._host.lost(Failure(Reason.PROTOCOL, detail="refused what was not tried"))
            case reason:
                self._host.lost(Failure(Reason(reason), message.retry_after_s))

    def _standing_ended(self) -> None:
        """Expired. With a login in flight it may be meant, too: ask again where that is clear."""
        attempt, candidate = self._link.attempt, self._updates.candidate
        identity = candidate.identity if candidate else self._remembered.identity
        if attempt is not None and identity is not None:
            self._host.connect(identity)
        elif candidate is not None:
            self._host.lost(Failure(Reason.EXPIRED))
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
                self._host.try_now()
        else:
            self._updates.pending_refused()
            if goes_on:
                self.next_attempt()
            else:
                self._host.try_stored()

    def refuse_stored(self, refusal: Refusal) -> None:
        """Never send the stored password again by itself."""
        record = self._stored.record
        if record is not None and record.refused is None:
            self._stored.write(replace(record, refused=refusal), Step.REFUSED)
        self._host.try_stored()
