"""The connection to the server, and the login on it.

There is at most one connection. Connections are numbered, so that late events of an earlier
connection can be told apart; number 0 means that there is no connection. A login runs through three
phases. Each phase waits for an answer: the server's challenge, the key derivation on another
thread, and the server's welcome. A logged-in connection can log in again: the accepted login stays
in force until the next login is accepted.

One timer guards every phase that waits for an answer. When it fires, the machine closes the
connection.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from agent.core import effects as do
from agent.core.credentials import NO_IDENTITY, Identity
from agent.core.effects import EffectQueue
from agent.core.events import Timer
from agent.core.transitions import Table
from protocol import messages as msg
from protocol.scram import ClientLogin, Keys
from protocol.sealing import is_signed

CONNECT_S = 60.0  # seconds for opening; more than the 20 s of agent/connection.py
LOGIN_S = 20.0  # seconds that a login may take once the connection is open
MAX_REFUSALS = 3  # refused passwords after which a server closes the connection (docs/protocol.md)


class Phase(Enum):
    """How far the connection has come."""

    NONE = "none"
    CONNECTING = "connecting"
    OPEN = "open"
    CHALLENGE = "challenge"
    KEY_DERIVATION = "key_derivation"
    WELCOME = "welcome"
    LOGGED_IN = "logged_in"


_P = Phase
TABLE = Table(
    _P.NONE,
    {
        (_P.NONE, "connect"): _P.CONNECTING,
        (_P.CONNECTING, "upgrade succeeded"): _P.OPEN,
        ((_P.OPEN, _P.LOGGED_IN), "login begun"): _P.CHALLENGE,
        (_P.CHALLENGE, "challenge received"): _P.KEY_DERIVATION,
        (_P.KEY_DERIVATION, "proof sent"): _P.WELCOME,
        (_P.WELCOME, "welcome received"): _P.LOGGED_IN,
        (_P.WELCOME, "password refused"): _P.OPEN,
        (_P.WELCOME, "another password refused"): _P.LOGGED_IN,
    },
    anywhere={"closed": _P.NONE},
)


class Kind(Enum):
    """Which password a login is made with."""

    STORED = "stored"
    PENDING = "pending"
    TYPED = "typed"


@dataclass(frozen=True)
class LoginAttempt:
    """The login that waits for an answer."""

    kind: Kind
    password: str = field(repr=False)
    handshake: ClientLogin = field(repr=False)


PasswordNews = msg.Welcome | msg.PasswordStatus | msg.PasswordChanged


class ConnectionState:
    """The one connection of the client."""

    def __init__(self, emit: EffectQueue) -> None:
        self._emit = emit
        self._refusals = 0
        self._keys: Keys | None = None
        self.opened = 0  # connections opened so far; also the newest connection's number
        self.phase = Phase.NONE
        self.number = 0
        self.identity = NO_IDENTITY
        self.attempt: LoginAttempt | None = None
        self.accepted: PasswordNews | None = None  # newest message about the login in force

    @property
    def is_up(self) -> bool:
        return self.phase not in {Phase.NONE, Phase.CONNECTING}

    @property
    def awaits_answer(self) -> bool:
        """Return whether this phase waits for an answer, with the timer set."""
        return self.phase is Phase.CONNECTING or self.attempt is not None

    def open(self, identity: Identity) -> None:
        """Open a connection to log in as `identity`."""
        self._go("connect")
        self.opened += 1
        self.number, self.identity = self.opened, identity
        self._emit(do.Connect(self.number, identity.server))
        self._emit(do.StartTimer(Timer.CONNECTION, CONNECT_S))

    def on_connected(self) -> None:
        self._go("upgrade succeeded")
        self._emit(do.StopTimer(Timer.CONNECTION))

    def on_disconnected(self) -> None:
        """Note that the connection has ended; nothing is left to close."""
        self.number = 0

    def close(self, farewell: msg.Farewell | None) -> None:
        """Close the connection, if there is one."""
        if self.number:
            self._emit(do.Disconnect(self.number, farewell))
        if self.phase is not Phase.NONE:
            self._go("closed")
            self._emit(do.StopTimer(Timer.CONNECTION))
        self.number, self.identity, self._refusals = 0, NO_IDENTITY, 0
        self.attempt = self.accepted = self._keys = None

    def send(self, message: msg.ClientMessage) -> None:
        self._emit(do.Send(self.number, message))

    def log_in(self, attempt: LoginAttempt, device: msg.Device) -> None:
        self._go("login begun")
        self.attempt = attempt
        self.send(msg.Hello(scram=attempt.handshake.first(), device=device))
        self._emit(do.StartTimer(Timer.CONNECTION, LOGIN_S))

    def on_challenge(self, attempt: LoginAttempt, challenge: str) -> None:
        self._go("challenge received")
        self._emit(do.ComputeProof(self.number, attempt.handshake, challenge))

    def on_proof(self, proof: str) -> None:
        self._go("proof sent")
        self.send(msg.Proof(scram=proof))

    def on_welcome(self, attempt: LoginAttempt) -> None:
        """Note that the server has accepted the login; the caller has checked its signature."""
        self._go("welcome received")
        self._keys = attempt.handshake.keys
        self._refusals = 0
        self._end_attempt()

    def on_refused(self) -> bool:
        """End the refused login. Return whether the connection allows another login."""
        self._go("another password refused" if self.accepted else "password refused")
        self._refusals += 1
        self._end_attempt()
        return self._refusals < MAX_REFUSALS

    def has_signed(self, push: msg.PasswordChanged) -> bool:
        return self._keys is not None and is_signed(push, self._keys.server)

    def _end_attempt(self) -> None:
        self.attempt = None
        self._emit(do.StopTimer(Timer.CONNECTION))

    def _go(self, step: str) -> None:
        self.phase = TABLE.next(self.phase, step)
