"""The credentials in the vault as far as the client knows them, and the requests to the vault.

The cache holds the credentials of the account in use. A write counts in the cache at once, and in
the vault when the vault has answered. Each request has a number, by which its answer is found; an
answer to a request that was dropped is ignored. One timer guards the oldest request; when it fires,
the cache gives up every request. After a write without an answer, the content of the vault is not
known. So the cache goes to `UNREADABLE`, keeps its credentials for logins, and writes nothing until
it has read the vault again.

Only the cache knows which passwords the server has refused. It remembers a salted digest of each,
and marks the credentials as refused as soon as they are known and can be written. So a refused
password is not sent again automatically, even when the user typed it while the vault was locked.
The digest is forgotten when the user types that password again, or the server pushes it.

A copied PC gets a device key of its own, because two PCs with one key would displace each other.
A PC is a copy if the entry names another machine, or if its logins are displaced again and again.
"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from enum import Enum

from msgspec.structs import replace

from agent.core import effects as do
from agent.core.account_context import AccountContext
from agent.core.credentials import NO_IDENTITY, Credentials, Identity, Pending, Refusal
from agent.core.effects import EffectQueue, WriteReason
from agent.core.events import Instant, Timer
from agent.core.failure import Reason
from agent.core.transitions import Table
from protocol.messages import PasswordChanged
from protocol.scram import Keys
from protocol.sealing import new_device_key

MAX_SUPERSEDED, SUPERSEDED_WITHIN_S = 3, 3600.0
"""Number of displaced logins, within so many seconds, after which the device key is replaced. A
client cannot displace itself: it closes a connection before it opens the next one."""
ANSWER_S = 90.0  # seconds that the vault has; more than the 75 s of vault_calls.py


class Knowledge(Enum):
    """What the cache knows of the vault."""

    UNREAD = "unread"
    READING = "reading"
    KNOWN = "known"
    ABSENT = "absent"
    UNREADABLE = "unreadable"


_K = Knowledge
TABLE = Table(
    _K.UNREAD,
    {
        ((_K.UNREAD, _K.UNREADABLE), "read requested"): _K.READING,
        (_K.READING, "entry found"): _K.KNOWN,
        (_K.READING, "no entry found"): _K.ABSENT,
        (_K.READING, "read failed"): _K.UNREADABLE,
        (_K.READING, "no answer in time"): _K.READING,
        ((_K.UNREAD, _K.KNOWN, _K.ABSENT, _K.UNREADABLE), "no answer in time"): _K.UNREADABLE,
    },
    anywhere={"typed password stored": _K.KNOWN, "logged out": _K.ABSENT},
)


@dataclass(frozen=True)
class VaultRequest:
    """A request that the vault has not answered yet."""

    effect: do.VaultEffect
    push: PasswordChanged | None = None  # the push that the write stores
    user_request: int | None = None  # the user's request that the deletion answers

    @property
    def reason(self) -> WriteReason | None:
        """Return why the request writes; None for a read or a deletion."""
        return self.effect.reason if isinstance(self.effect, do.WriteVault) else None


class CredentialCache:
    """The credentials of the account in use."""

    def __init__(
        self, account: AccountContext, emit: EffectQueue, *, salt: str, machine: str
    ) -> None:
        self._emit, self._account = emit, account
        self._salt, self._machine = salt, machine
        self._refusals: dict[bytes, Refusal] = {}
        self._superseded: list[float] = []  # when another client displaced this one
        self._numbers = itertools.count(1)
        self._requests: dict[int, VaultRequest] = {}
        self._late_read: VaultRequest | None = None
        """A read that was given up, and whose late answer would still be up to date."""
        self.knowledge = Knowledge.ABSENT if account.identity == NO_IDENTITY else Knowledge.UNREAD
        self.credentials: Credentials | None = None
        self.keys: Keys | None = None
        """Keys of a password that may be tried, from the last accepted login; never stored."""
        self.problem: Reason | None = None  # what is wrong with the vault

    # --- what to log in with

    @property
    def pending(self) -> Pending | None:
        return self.credentials.pending if self.credentials else None

    @property
    def proposal(self) -> Credentials | None:
        """Return the pushed password as credentials to try; None if not stored yet, or refused."""
        credentials, pending = self.credentials, self.pending
        if not credentials or not pending or pending.refused:
            return None
        if self.is_writing(WriteReason.PENDING):
            return None
        return replace(credentials, password=pending.password)

    @property
    def refusal(self) -> Refusal | None:
        """Return why every known password was refused; None when a password can be tried."""
        credentials = self.credentials
        return credentials.refused if credentials and not credentials.usable() else None

    def cache_keys(self, keys: Keys | None) -> None:
        """Keep the keys of an accepted login if their password may be tried again."""
        usable = self.credentials.usable() if self.credentials else []
        self.keys = keys if keys is not None and keys.password in usable else None

    # --- refused passwords

    def refuse(self, identity: Identity, password: str, refusal: Refusal) -> None:
        self._refusals[self._digest(identity, password)] = refusal
        self._mark_refused()

    def refuse_stored(self, refusal: Refusal) -> None:
        if self.credentials is not None:
            self.refuse(self._account.identity, self.credentials.password, refusal)

    def forgive(self, identity: Identity, password: str) -> None:
        """Forget that this password was refused: the user or the server has sent it again."""
        self._refusals.pop(self._digest(identity, password), None)

    def _mark_refused(self) -> None:
        marked, identity = self.credentials, self._account.identity
        if marked is None:
            return
        refusal = self._refusals.get(self._digest(identity, marked.password))
        if refusal is not None and marked.refused is None:
            marked = replace(marked, refused=refusal)
        pending = marked.pending
        if pending is not None and self._digest(identity, pending.password) in self._refusals:
            marked = replace(marked, pending=replace(pending, refused=True))
        if marked != self.credentials:
            self.write(marked, WriteReason.REFUSED)

    def _digest(self, identity: Identity, password: str) -> bytes:
        text = ascii((self._salt, identity.server, identity.user, password))
        return hashlib.sha256(text.encode()).digest()

    # --- requests to the vault

    def read(self) -> None:
        """Read the entry of the account in use, unless a read is under way."""
        if self.knowledge is not Knowledge.READING:
            self.go("read requested")
            if self._late_read is not None:
                self._await(self._late_read)
            else:
                effect = do.ReadVault(next(self._numbers), self._account.identity)
                self._request(VaultRequest(effect))

    def write(
        self, credentials: Credentials, reason: WriteReason, push: PasswordChanged | None = None
    ) -> None:
        """Replace the credentials in the cache, and in the vault if its entry is known."""
        self._replace(credentials)
        if self.knowledge is Knowledge.KNOWN:
            number, identity = next(self._numbers), self._account.identity
            effect = do.WriteVault(number, identity, credentials, reason)
            self._request(VaultRequest(effect, push))

    def commit_pending(self) -> bool:
        """Make the pending password the current one. Return whether a write was sent."""
        credentials, pending = self.credentials, self.pending
        if credentials is None or pending is None:
            return False
        proved = replace(credentials, password=pending.password, pending=None, refused=None)
        self.write(proved, WriteReason.COMMIT)
        return self.knowledge is Knowledge.KNOWN

    def drop_pending(self) -> None:
        if self.credentials is not None:
            self.write(replace(self.credentials, pending=None), WriteReason.FORGET_PENDING)

    def write_typed(self, identity: Identity, credentials: Credentials) -> None:
        """Store a typed password. The cache takes it over when the vault has written it."""
        number = next(self._numbers)
        effect = do.WriteVault(number, identity, credentials, WriteReason.TYPED)
        self._request(VaultRequest(effect))

    def delete(self, identity: Identity, *, user_request: int | None = None) -> None:
        """Delete an entry from the vault. `user_request`: the user's request that this answers."""
        effect = do.DeleteFromVault(next(self._numbers), identity)
        self._request(VaultRequest(effect, user_request=user_request))

    def is_writing(self, reason: WriteReason) -> bool:
        """Return whether the vault has yet to answer a write for this reason."""
        return any(request.reason is reason for request in self._requests.values())

    # --- answers of the vault

    def take(self, number: int) -> VaultRequest | None:
        """Return the request that the vault has answered; None when it was dropped."""
        if self._late_read is not None and self._late_read.effect.number == number:
            self._late_read = None
        request = self._requests.pop(number, None)
        if request is not None:
            self._watch_oldest()
        return request

    def on_read(self, credentials: Credentials | None) -> None:
        """Take over the credentials that the vault holds, and mark the refused passwords."""
        self.go("no entry found" if credentials is None else "entry found")
        self._replace(credentials)
        if credentials is not None and credentials.is_copied_to(self._machine):
            self._take_new_key()
        self._mark_refused()

    def on_superseded(self, now: Instant) -> None:
        """Note that another client with this device key has taken this one's place."""
        recent = [at for at in self._superseded if now.steady - at < SUPERSEDED_WITHIN_S]
        self._superseded = [*recent, now.steady]
        if len(self._superseded) == MAX_SUPERSEDED:
            self._superseded.clear()
            self._take_new_key()

    def _take_new_key(self) -> None:
        """Replace the device key, so that the console shows this PC as a device of its own."""
        if self.credentials is not None:
            key = new_device_key()
            own = replace(self.credentials, device_key=key, machine=self._machine)
            self.write(own, WriteReason.NEW_KEY)

    def on_late(self) -> list[VaultRequest]:
        """Give up all requests, because the vault does not answer; return them."""
        late = list(self._requests.values())
        if late and isinstance(late[-1].effect, do.ReadVault):
            self._late_read = late[-1]
        self._requests.clear()
        return late

    def on_typed_stored(self, credentials: Credentials) -> None:
        self.go("typed password stored")
        self._replace(credentials)

    def withdraw_pending(self, change_id: str) -> bool:
        """Drop a pushed password that could not be stored. Return False when another is cached."""
        credentials, pending = self.credentials, self.pending
        if credentials is None or pending is None or pending.change_id != change_id:
            return False
        self._replace(replace(credentials, pending=None))
        return True

    def forget(self) -> None:
        """Forget the credentials, and drop every request but the user's deletions."""
        self.go("logged out")
        self._replace(None)
        self.problem = None
        self._requests = {n: r for n, r in self._requests.items() if r.user_request is not None}
        self._watch_oldest()

    def _request(self, request: VaultRequest) -> None:
        """Send a request to the vault. A late answer to an earlier read is out of date then."""
        self._late_read = None
        self._emit(request.effect)
        self._await(request)

    def _await(self, request: VaultRequest) -> None:
        self._requests[request.effect.number] = request
        if len(self._requests) == 1:
            self._watch_oldest()

    def _watch_oldest(self) -> None:
        """Start the timer for the oldest request: the vault answers them one after the other."""
        timer = Timer.VAULT_ANSWER
        self._emit(do.StartTimer(timer, ANSWER_S) if self._requests else do.StopTimer(timer))

    def _replace(self, credentials: Credentials | None) -> None:
        self.credentials = credentials
        self.cache_keys(self.keys)

    def go(self, cause: str) -> None:
        self.knowledge = TABLE.next(self.knowledge, cause)
