"""What the vault is meant to hold, and which of its answers are still to come.

The record here is ahead of the vault by the writes under way. The vault answers in the order in
which it was asked, so an answer belongs to the oldest job.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from agent.core import effects as do
from agent.core.credentials import Credentials, Identity, Pending
from agent.core.effects import EffectQueue
from agent.core.events import Step
from agent.core.failure import Reason
from agent.core.remembered import AccountContext
from protocol import messages as msg
from protocol.scram import Keys


@dataclass
class Job:
    """Something that the vault was asked; `step` is None for a read.

    `push` is the message that led to it, `request` the user's who waits for it. A job that is not
    `wanted` any more is still answered, and its answer passed over.
    """

    step: Step | None
    push: msg.PasswordChanged | None = None
    request: int | None = None
    wanted: bool = True


class CredentialCache:
    """The record of the identity in use; `problem` says what is wrong with the vault."""

    def __init__(self, remembered: AccountContext, outbox: EffectQueue) -> None:
        self._do = outbox
        self._remembered = remembered
        self._jobs: deque[Job] = deque()
        self._record: Credentials | None = None
        self._keys: Keys | None = None
        self.problem: Reason | None = None

    @property
    def record(self) -> Credentials | None:
        """What the vault holds, or is to hold."""
        return self._record

    @record.setter
    def record(self, record: Credentials | None) -> None:
        self._record = record
        self.learn(self._keys)

    @property
    def keys(self) -> Keys | None:
        """What the last login was made with, so that the next one need not derive them again.

        They go when their password goes, changes or is refused, and are never written anywhere.
        """
        return self._keys

    def learn(self, keys: Keys | None) -> None:
        """Keep keys that the server has accepted, if their password is one to try again."""
        record = self._record
        usable = set()
        if record is not None and record.refused is None:
            usable.add(record.password)
        if record is not None and record.pending is not None and not record.pending.refused:
            usable.add(record.pending.password)
        self._keys = keys if keys is not None and keys.password in usable else None

    def read(self, identity: Identity) -> None:
        """Ask for the record, unless that has been done."""
        if not self.is_reading:
            self._jobs.append(Job(None))
            self._do(do.ReadVault(identity))

    def write(
        self, record: Credentials, step: Step, *, push: msg.PasswordChanged | None = None
    ) -> None:
        """Make `record` durable; it counts at once."""
        if self._remembered.identity is not None:
            self.record = record
            self._jobs.append(Job(step, push=push))
            self._do(do.WriteVault(self._remembered.identity, record, step))

    def write_candidate(self, identity: Identity, record: Credentials) -> None:
        """Make durable what counts only when it is."""
        self._jobs.append(Job(Step.CANDIDATE))
        self._do(do.WriteVault(identity, record, Step.CANDIDATE))

    def delete(self, identity: Identity, request: int) -> None:
        """Remove the entry for the user's `request`."""
        self._jobs.append(Job(Step.LOGOUT, request=request))
        self._do(do.DeleteFromVault(identity, Step.LOGOUT))

    def forget(self) -> None:
        """Know nothing of what was stored; what is still answered about it does not count."""
        self.record, self.problem = None, None
        for job in self._jobs:
            job.wanted = job.step is Step.LOGOUT

    def answered(self, step: Step | None) -> Job | None:
        """The job that the vault has answered; None when nobody waits for that any more."""
        if not self._jobs or self._jobs[0].step is not step:
            return None
        job = self._jobs.popleft()
        return job if job.wanted else None

    @property
    def is_reading(self) -> bool:
        """Whether the record itself is yet to come."""
        return any(job.step is None and job.wanted for job in self._jobs)

    def is_under_way(self, step: Step) -> bool:
        """Whether a write for `step` has not been answered."""
        return any(job.step is step and job.wanted for job in self._jobs)

    @property
    def pending(self) -> Pending | None:
        """The pushed password that may be tried: durable, and not refused."""
        pending = self.record.pending if self.record else None
        if pending is None or pending.refused or self.is_under_way(Step.PENDING):
            return None
        return pending

    @property
    def has_something_to_try(self) -> bool:
        """Whether there is a password, perhaps not durable yet, that was not refused."""
        record = self.record
        return record is not None and (
            record.refused is None or (record.pending is not None and not record.pending.refused)
        )
