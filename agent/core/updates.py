"""How a new password becomes the stored one: pushed by the server, or typed by the user.

A pushed one is made durable as pending, proven by a login, and committed. A typed one is a
candidate: proven by a login first and stored then; until that nothing else changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from msgspec.structs import replace

from agent.core import effects as do
from agent.core.credentials import (
    Credentials,
    CredentialsError,
    Identity,
    Refusal,
    encode_credentials,
    open_push,
)
from agent.core.effects import EffectQueue
from agent.core.events import LoginRequested, Step
from agent.core.failure import Reason
from agent.core.link import Link
from agent.core.remembered import AccountContext
from agent.core.state import State, Trigger
from agent.core.stored import CredentialCache, Job
from protocol import messages as msg
from protocol.sealing import SealError, new_device_key


@dataclass
class Candidate:
    """A user's wish to sign in, until it is answered."""

    request: int
    identity: Identity
    record: Credentials
    proven: bool = False
    """The server has accepted it; the vault's answer decides."""
    console_url: str | None = None


class Host(Protocol):
    """What a new password needs of the machine."""

    state: State

    def go(self, trigger: Trigger) -> None: ...
    def connect(self, identity: Identity) -> None: ...
    def disconnect(self) -> None: ...
    def next_attempt(self) -> None: ...
    def settle(self) -> None: ...
    def try_now(self) -> None: ...
    def refuse_stored(self, refusal: Refusal) -> None: ...
    def stand(self, status: msg.Welcome | msg.PasswordStatus | msg.PasswordChanged) -> None: ...


class Updates:
    """At most one candidate, and one more user's request or push that waits for its turn."""

    def __init__(
        self,
        host: Host,
        *,
        link: Link,
        stored: CredentialCache,
        remembered: AccountContext,
        outbox: EffectQueue,
    ) -> None:
        self._host = host
        self._link = link
        self._stored = stored
        self._remembered = remembered
        self._do = outbox
        self.candidate: Candidate | None = None
        self._queued: LoginRequested | None = None
        self._push: msg.PasswordChanged | None = None

    # --- pushed

    def pushed(self, message: msg.PasswordChanged) -> None:
        """The server knows a newer password for this device."""
        self._host.stand(message)
        record = self._stored.record
        pending = record.pending if record else None
        if pending is not None and pending.change_id == message.change_id:
            return
        if self._host.state is State.UPDATING or self._link.attempt or record is None:
            self._push = message
            return
        try:
            updated = replace(record, pending=open_push(message, record.device_key))
            encode_credentials(updated)
        except SealError:
            self._link.send(msg.UpdateFailed(change_id=message.change_id, reason="unreadable"))
            self._host.settle()
        except CredentialsError:
            self._link.send(msg.UpdateFailed(change_id=message.change_id, reason="vault"))
            self._host.settle()
        else:
            self._host.go(Trigger.UPDATE_BEGUN)
            self._stored.write(updated, Step.PENDING, push=message)

    def take_push(self) -> bool:
        """Go on with a push that had to wait, unless somebody is before it; whether it does."""
        push = self._push
        if push is None or self._queued is not None or self._link.standing is None:
            return False
        self._push = None
        self.pushed(push)
        return True

    def pending_stored(self) -> None:
        """Durable: prove it by a login."""
        if self._link.up and self._link.attempt is None and self.candidate is None:
            if self._link.standing is not None and self._host.state is not State.UPDATING:
                self._host.go(Trigger.UPDATE_BEGUN)
            self._host.next_attempt()

    def pending_not_stored(self, job: Job) -> None:
        """The vault would not keep it: go on with what there is, and try again later."""
        record, push = self._stored.record, job.push
        if record is None or push is None:
            return
        if record.pending is not None and record.pending.change_id == push.change_id:
            self._stored.record = replace(record, pending=None)
        if self._link.standing is not None:
            self._link.send(msg.UpdateFailed(change_id=push.change_id, reason="vault"))
        if self._push is None:
            self._push = push

    def pending_refused(self) -> None:
        """Do not send it again by itself, whatever happens before the server has proven itself."""
        record = self._stored.record
        if record is not None and record.pending is not None and not record.pending.refused:
            refused = replace(record, pending=replace(record.pending, refused=True))
            self._stored.write(refused, Step.REFUSED)

    def forget_pending(self) -> None:
        """The server has proven itself on this connection and does not want the pending one."""
        record = self._stored.record
        if record is not None and record.pending is not None:
            change_id = record.pending.change_id
            self._link.send(msg.UpdateFailed(change_id=change_id, reason="refused"))
            self._stored.write(replace(record, pending=None), Step.FORGET_PENDING)

    def forget_push(self) -> None:
        """The connection is gone; the server will send it again."""
        self._push = None

    # --- typed

    def requested(self, event: LoginRequested) -> None:
        """A user's password; one at a time, and not in the middle of a push."""
        if self.candidate is not None or self._queued is not None:
            self._do(do.Reply(event.request, Reason.BUSY))
        elif self._host.state is State.UPDATING:
            self._queued = event
        else:
            self._begin(event)

    def take_turn(self) -> None:
        """Begin what the user asked for meanwhile."""
        if self._queued is not None and self._host.state not in {State.UPDATING, State.STOPPED}:
            event, self._queued = self._queued, None
            self._begin(event)

    def _begin(self, event: LoginRequested) -> None:
        known = self._stored.record if event.identity == self._remembered.identity else None
        key = known.device_key if known else new_device_key()
        record = Credentials(password=event.password, device_key=key)
        try:
            encode_credentials(record)
        except CredentialsError:
            self._do(do.Reply(event.request, Reason.CREDENTIALS))
            return
        self.candidate = Candidate(event.request, event.identity, record)
        self._host.go(Trigger.UPDATE_BEGUN)
        if known is not None and self._link.standing is not None and self._link.attempt is None:
            self._host.next_attempt()
        else:
            self._host.connect(event.identity)

    def welcomed(self, message: msg.Welcome) -> None:
        """The server accepts the candidate: keep it if it is the current password."""
        candidate = self.candidate
        if candidate is None:
            return
        if message.password == "old":
            self.failed(Reason.OLD_PASSWORD)
            return
        candidate.proven, candidate.console_url = True, message.console_url
        self._push = None
        self._host.stand(message)
        self._stored.write_candidate(candidate.identity, candidate.record)

    def refused(self, refusal: Refusal, *, goes_on: bool) -> None:
        """Wrong: say so. It may be the very password that is stored."""
        candidate, self.candidate = self.candidate, None
        if candidate is None:
            return
        self._do(do.Reply(candidate.request, Reason(refusal)))
        record, word = self._stored.record, candidate.record.password
        if record is not None and candidate.identity == self._remembered.identity:
            if record.pending is not None and record.pending.password == word:
                self.pending_refused()
            if record.refused is None and record.password == word:
                self._host.refuse_stored(refusal)
                return
        if self._link.standing is not None and goes_on:
            self._host.settle()
        else:
            self._host.try_now()

    def failed(self, reason: Reason) -> bool:
        """The connection is no good, or the vault; whether that was the candidate's affair."""
        candidate = self.candidate
        if candidate is None:
            return False
        self._host.disconnect()
        if not candidate.proven:  # else its write is under way and decides
            self.candidate = None
            self._do(do.Reply(candidate.request, reason))
            self._host.try_now()
        return True

    def stored(self) -> None:
        """The candidate is durable: be that identity from now on."""
        candidate, self.candidate = self.candidate, None
        if candidate is None:
            return
        before = self._remembered.identity
        self._stored.record = candidate.record
        if before != candidate.identity:
            self._remembered.change_identity(candidate.identity)
            if before is not None:
                self._do(do.DeleteFromVault(before, None))
        standing = self._link.standing
        self._remembered.remember(
            old_valid_until=standing.valid_until if standing else None, asked_session=None
        )
        self._remembered.remember_server(candidate.console_url)
        self._do(do.WithdrawWarning(), do.Reply(candidate.request, None))
        if standing is not None:
            self._host.settle()
        else:
            self._host.try_now()

    def not_stored(self, reason: Reason) -> None:
        """The vault would not keep the candidate: everything stays as it was."""
        if self.candidate is not None:
            self.candidate.proven = False
            self.failed(reason)

    def give_up(self) -> None:
        """The user wants something else; whoever waits is told."""
        candidate, queued = self.candidate, self._queued
        self.candidate, self._queued, self._push = None, None, None
        for waiting in (candidate, queued):
            if waiting is not None:
                self._do(do.Reply(waiting.request, Reason.BUSY))
        if candidate and candidate.proven and candidate.identity != self._remembered.identity:
            self._do(do.DeleteFromVault(candidate.identity, None))
