"""The connection to the server as the machine sees it, and the logins on it.

Connections have numbers, by which late events of an earlier one are told; 0 is none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Literal

from agent.core import effects as do
from agent.core.effects import EffectQueue
from agent.core.events import Timer
from protocol import messages as msg
from protocol.scram import ClientLogin, Keys
from protocol.sealing import is_signed

LOGIN_S = 20.0
"""Seconds that a login may take once the connection stands."""
MAX_REFUSALS = 3
"""Refused passwords after which a server closes (docs/protocol.md, `rejected`)."""


class Kind(Enum):
    """Which password a login is tried with."""

    STORED = "stored"
    PENDING = "pending"
    CANDIDATE = "candidate"


@dataclass
class Attempt:
    """The login in flight."""

    kind: Kind
    handshake: ClientLogin = field(repr=False)
    expects: Literal["challenge", "key derivation", "welcome"] = "challenge"


@dataclass(frozen=True)
class Standing:
    """The login that stands on the connection."""

    password: msg.PasswordKind
    valid_until: datetime | None


class Link:
    """At most one connection, with at most one standing login and one in flight."""

    def __init__(self, outbox: EffectQueue) -> None:
        self._do = outbox
        self._last = 0
        self._refusals = 0
        self.number = 0
        self.up = False
        self.attempt: Attempt | None = None
        self.standing: Standing | None = None
        self._keys: Keys | None = None

    def open(self, server: str) -> None:
        """Connect anew; `connected` when it stands."""
        self.close()
        self._last += 1
        self.number = self._last
        self._do(do.StopTimer(Timer.RETRY), do.Connect(self.number, server))

    def connected(self) -> None:
        """The upgrade has succeeded."""
        self.up = True

    def ended(self) -> None:
        """The connection is gone; nothing is left to close."""
        self.number = 0
        self.close()

    def close(self) -> None:
        """Have no connection."""
        if self.number:
            self._do(do.Disconnect(self.number))
        self.end_attempt()
        self.number, self.up, self.standing, self._refusals = 0, False, None, 0
        self._keys = None

    def send(self, message: msg.ClientMessage) -> None:
        """Send, or drop it when there is no connection."""
        if self.up:
            self._do(do.Send(self.number, message))

    def log_in(self, kind: Kind, handshake: ClientLogin, device: msg.Device) -> None:
        """Begin a login."""
        self.attempt = Attempt(kind, handshake)
        self.send(msg.Hello(scram=handshake.first(), device=device))
        self._do(do.StartTimer(Timer.LOGIN, LOGIN_S))

    def expects(self, what: str) -> bool:
        """Whether `what` comes next in the login in flight."""
        return self.attempt is not None and self.attempt.expects == what

    def challenged(self, challenge: str) -> None:
        """Have the proof computed for the login in flight."""
        if self.attempt is not None:
            self.attempt.expects = "key derivation"
            self._do(do.ComputeProof(self.number, self.attempt.handshake, challenge))

    def prove(self, proof: str) -> None:
        """Send the proof that was computed."""
        if self.attempt is not None and self.attempt.expects == "key derivation":
            self.attempt.expects = "welcome"
            self.send(msg.Proof(scram=proof))

    def stand(self, password: msg.PasswordKind, valid_until: datetime | None) -> None:
        """A login stands, by the server's word."""
        self.standing = Standing(password, valid_until)

    def welcomed(self) -> None:
        """The login in flight has succeeded."""
        if self.attempt is not None:
            self._keys = self.attempt.handshake.keys
        self._refusals = 0
        self.end_attempt()

    def has_signed(self, push: msg.PasswordChanged) -> bool:
        """Whether it comes from who has proven to know the verifier at the last login."""
        return self._keys is not None and is_signed(push, self._keys.server)

    def refused(self) -> bool:
        """The login in flight was refused; whether the server hears another one after it."""
        self._refusals += 1
        self.end_attempt()
        return self._refusals < MAX_REFUSALS

    def end_attempt(self) -> None:
        """No login is in flight."""
        self.attempt = None
        self._do(do.StopTimer(Timer.LOGIN))
