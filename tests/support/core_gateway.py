"""Play the server for the machine: accounts, and one object for each connection."""

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

SALTS = {"tanaka": b"salt of tanaka", "suzuki": b"salt of suzuki"}


@functools.cache
def _verifier(password: str, salt: bytes) -> Verifier:
    return verifier_of(derive_keys(password, salt=salt, iterations=msg.MIN_ITERATIONS))


@dataclass
class Account:
    """One user on the server. `retired` has the old passwords with their ends."""

    name: str
    password: str
    retired: list[tuple[str, datetime]] = field(default_factory=list)
    pushes: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By device id: change id and sealed box, until proven or given up."""
    says: str | None = None
    """`disabled` or `blocked`, told when the proof was right."""

    def standing(self, password: str, now: datetime) -> tuple[msg.PasswordKind, datetime | None]:
        """Return what `password` is good for. Raise KeyError when it is not valid."""
        if password == self.password:
            return "current", None
        for old, until in self.retired:
            if old == password and now < until:
                return "old", until
        raise KeyError(password)


class Session:
    """The server's side of one connection."""

    def __init__(self, world: World, number: int) -> None:
        self._world = world
        self.number = number
        self.account: Account | None = None
        self.password = ""
        self.device: msg.Device | None = None
        self.told: tuple[msg.PasswordKind, datetime | None] = ("current", None)
        self.has_proved_itself = False
        """Whether it has sent the right signature for a login."""
        self.pushed: set[str] = set()
        self.hello: msg.Hello | None = None
        self._refusals = 0
        self.closed = False

    def say(self, message: msg.ServerMessage) -> None:
        if not self.closed:
            self._world.inbox.append(ev.Received(self.number, message))

    def close(self, failure: Failure | None = None) -> None:
        if not self.closed:
            self.closed = True
            failure = failure or Failure(Reason.PROTOCOL, detail="closed with 1008")
            self._world.inbox.append(ev.Disconnected(self.number, failure))

    def hear(self, message: msg.ClientMessage) -> None:
        """Answer as docs/protocol.md says."""
        if self.closed:
            return
        match message:
            case msg.Hello():
                self.hello = message
                if self._world.throttle_s:
                    self.say(msg.Rejected(reason="throttled", retry_after_s=self._world.throttle_s))
                    self.close()
                else:
                    self.say(msg.Challenge(scram=self._login()[2].challenge))
            case msg.Proof(scram=final):
                self._prove(final)
            case msg.Pair() | msg.Notice() | msg.UpdateFailed() if self.account is None:
                self.close()  # nothing else may come before a login
            case msg.Notice():
                self._world.notices.append(message)
            case msg.UpdateFailed():
                self._world.failed.append(message)
                assert self.device is not None
                assert self.account is not None
                pushes = self.account.pushes
                waits = pushes.get(self.device.id, ("",))[0] == message.change_id
                if waits and message.reason != "vault":
                    del pushes[self.device.id]

    def _login(self) -> tuple[Account | None, list[str], ServerLogin]:
        """Return the account of the last hello, its passwords, and the server's half of SCRAM."""
        assert self.hello is not None
        first = ClientFirst.parse(self.hello.scram)
        account = self._world.accounts.get(first.user or "")
        words = (
            [account.password, *(old for old, _ in account.retired)] if account else ["unknown!"]
        )
        salt = SALTS.get(first.user or "", b"made-up salt")
        verifiers = [_verifier(word, salt) for word in words]
        return account, words, ServerLogin(first, verifiers, nonce=f"s-{self.number}")

    def _prove(self, final: str) -> None:
        account, words, login = self._login()
        try:
            found = login.check(final)
        except MalformedMessage:
            self.close()
        else:
            if account is None or found is None:
                self._refuse("credentials")
            else:
                self._log_in(account, words[found[0]], found[1])

    def _refuse(self, reason: Literal["credentials", "expired", "disabled", "blocked"]) -> None:
        self._refusals += 1
        self.say(msg.Rejected(reason=reason))
        if reason != "credentials" or self._refusals >= 3:
            self.close()

    def _log_in(self, account: Account, password: str, final: str) -> None:
        try:
            kind, until = account.standing(password, self._world.server_now)
        except KeyError:
            self._refuse("expired")
            return
        if account.says is not None:
            self._refuse(account.says)  # type: ignore[arg-type] # of two
            return
        self.account, self.password, self.told = account, password, (kind, until)
        assert self.hello is not None
        self.device = self.hello.device
        self._refusals = 0
        self.pushed.clear()
        self._world.proven.add((account.name, password))
        self.has_proved_itself = not self._world.impostor
        if self._world.impostor:
            final = "v=" + b64encode(bytes(32)).decode()
        self.say(
            msg.Welcome(
                scram=final,
                password=kind,
                valid_until=until,
                server_time=self._world.server_now,
                console_url="https://console.example.com/",
                newest=self._world.newest,
            )
        )
        if kind == "current":
            account.pushes.pop(self.device.id, None)
        else:
            self.push()

    def push(self) -> bool:
        """Send what is kept for this device, once per login. Return whether it was sent."""
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
        server_key = _verifier(self.password, SALTS[self.account.name]).server_key
        signature = push_signature(server_key, change_id=change, sealed=sealed)
        return msg.PasswordChanged(
            change_id=change, sealed=sealed, valid_until=until, signature=signature
        )

    def refresh(self) -> None:
        """Send a waiting client what has changed for its user."""
        if self.account is None or self.closed:
            return
        before = self.told
        try:
            self.told = self.account.standing(self.password, self._world.server_now)
        except KeyError:
            self.say(msg.Rejected(reason="expired"))
            self.close()
            return
        if not self.push() and self.told != before:
            password, until = self.told
            self.say(
                msg.PasswordStatus(
                    password=password, valid_until=until, server_time=self._world.server_now
                )
            )
