"""A server in memory for the machine: accounts, and one object for each connection."""

from __future__ import annotations

import functools
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from agent.core import events as ev
from agent.core.failure import Failure, Reason
from protocol import messages as msg
from protocol.scram import (
    ClientFirst,
    MalformedMessage,
    ServerLogin,
    Verifier,
    derive_keys,
    verifier_of,
)
from protocol.sealing import push_signature

if TYPE_CHECKING:
    from tests.support.core_driver import World


@functools.cache
def _verifier(user: str, password: str) -> Verifier:
    salt = f"salt of {user}".encode()
    return verifier_of(derive_keys(password, salt=salt, iterations=msg.MIN_ITERATIONS))


@dataclass
class Account:
    """One user on the server. `retired` has the old passwords with their ends."""

    name: str
    password: str
    retired: list[tuple[str, datetime]] = field(default_factory=list)
    pushes: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Change id and sealed box by device id, until the push is proven or has failed."""
    says: Literal["disabled", "blocked"] | None = None
    """The reason that refuses a right proof; None: no refusal."""

    def standing(self, password: str, now: datetime) -> tuple[msg.PasswordKind, datetime | None]:
        """Return whether `password` is current or old, and its end. Raise KeyError if not valid."""
        if password == self.password:
            return "current", None
        for old, until in self.retired:
            if old == password and now < until:
                return "old", until
        raise KeyError(password)


@dataclass(eq=False)
class Session:
    """The server's side of one connection."""

    world: World
    number: int
    account: Account | None = None
    """The account that is logged in; None before a login."""
    password: str = ""
    device: msg.Device | None = None
    told: tuple[msg.PasswordKind, datetime | None] = ("current", None)
    has_proved_itself: bool = False
    """Whether the server has sent the right signature for a login."""
    pushed: set[str] = field(default_factory=set)
    hello: msg.Hello | None = None
    refusals: int = 0
    closed: bool = False

    def say(self, message: msg.ServerMessage) -> None:
        if not self.closed:
            self.world.inbox.append(ev.Received(self.number, message))

    def close(self, failure: Failure | None = None) -> None:
        if not self.closed:
            self.closed = True
            failure = failure or Failure(Reason.PROTOCOL, detail="closed with 1008")
            self.world.inbox.append(ev.Disconnected(self.number, failure))

    def hear(self, message: msg.ClientMessage) -> None:
        """Answer a client's message as docs/protocol.md says."""
        match message:
            case _ if self.closed:
                pass
            case msg.Hello() if self.world.throttle_s:
                self.say(msg.Rejected(reason="throttled", retry_after_s=self.world.throttle_s))
                self.close()
            case msg.Hello():
                self.hello = message
                self.say(msg.Challenge(scram=self._login()[2].challenge))
            case msg.Proof(scram=final):
                self._prove(final)
            case msg.Notice() if self.account:
                self.world.notices.append(message)
            case msg.UpdateFailed(change_id=change) if self.account and self.device:
                self.world.failed.append(message)
                pushes = self.account.pushes
                waits = pushes.get(self.device.id, ("",))[0] == change
                if waits and message.reason != "vault":
                    del pushes[self.device.id]
            case _:
                self.close()  # any other message needs a login

    def _login(self) -> tuple[Account | None, list[str], ServerLogin]:
        """Return the account of the last hello, its passwords, and the server's half of SCRAM."""
        assert self.hello is not None
        first = ClientFirst.parse(self.hello.scram)
        account = self.world.accounts.get(first.user or "")
        words = ["unknown!"]
        if account:
            words = [account.password, *(old for old, _ in account.retired)]
        verifiers = [_verifier(first.user or "", word) for word in words]
        return account, words, ServerLogin(first, verifiers, nonce=f"s-{self.number}")

    def _prove(self, final: str) -> None:
        account, words, login = self._login()
        try:
            found = login.check(final)
        except MalformedMessage:
            self.close()
            return
        if account is None or found is None:
            self._refuse("credentials")
            return
        try:
            self.told = account.standing(words[found[0]], self.world.server_now)
        except KeyError:
            self._refuse("expired")
        else:
            if account.says is not None:
                self._refuse(account.says)
            else:
                self._log_in(account, words[found[0]], found[1])

    def _refuse(self, reason: Literal["credentials", "expired", "disabled", "blocked"]) -> None:
        self.refusals += 1
        self.say(msg.Rejected(reason=reason))
        if reason != "credentials" or self.refusals >= 3:
            self.close()

    def _log_in(self, account: Account, password: str, final: str) -> None:
        assert self.hello is not None
        self.account, self.password, self.device = account, password, self.hello.device
        self.refusals = 0
        self.pushed.clear()
        self.world.proven.add((account.name, password))
        self.has_proved_itself = not self.world.impostor
        self.say(
            msg.Welcome(
                scram="v=" + b64encode(bytes(32)).decode() if self.world.impostor else final,
                password=self.told[0],
                valid_until=self.told[1],
                server_time=self.world.server_now,
                console_url="https://console.example.com/",
                newest=self.world.newest,
            )
        )
        if self.told[0] == "current":
            account.pushes.pop(self.device.id, None)
        else:
            self.push()

    def push(self) -> bool:
        """Send this device's push, once per login. Return whether it was sent."""
        if not (self.account and self.device and self.told[1]):
            return False
        change, sealed = self.account.pushes.get(self.device.id, ("", ""))
        if not change or change in self.pushed:
            return False
        self.pushed.add(change)
        self.say(self.signed(change, sealed, self.told[1]))
        return True

    def signed(self, change: str, sealed: str, until: datetime) -> msg.PasswordChanged:
        """Return a push, signed for the accepted login."""
        assert self.account is not None
        key = _verifier(self.account.name, self.password).server_key
        return msg.PasswordChanged(
            change_id=change,
            sealed=sealed,
            valid_until=until,
            signature=push_signature(key, change_id=change, sealed=sealed),
        )

    def refresh(self) -> None:
        """Send a waiting client its user's changes."""
        if self.account is None or self.closed:
            return
        before, now = self.told, self.world.server_now
        try:
            self.told = self.account.standing(self.password, now)
        except KeyError:
            self.say(msg.Rejected(reason="expired"))
            self.close()
            return
        if not self.push() and self.told != before:
            kind, until = self.told
            self.say(msg.PasswordStatus(password=kind, valid_until=until, server_time=now))
