"""What can happen to the client: one fact each, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from agent.core.failure import Failure, Reason
from agent.core.messages import ServerMessage
from agent.core.record import Identity, Record


@dataclass(frozen=True)
class Instant:
    """When something happened: the PC's wall clock (UTC, may be wrong) and a steady clock in s."""

    wall: datetime
    steady: float


class Timer(Enum):
    """The timers that the machine sets."""

    RETRY = "retry"
    LOGIN = "login"
    WARNING = "warning"
    VAULT = "vault"
    MIDNIGHT = "midnight"


class Step(Enum):
    """Why the vault is written to."""

    PENDING = "pending"
    COMMIT = "commit"
    CANDIDATE = "candidate"
    REFUSED = "refused"
    FORGET_PENDING = "forget_pending"
    LOGOUT = "logout"


class SignInKind(Enum):
    """How the user came to the desktop."""

    SIGN_IN = "sign_in"
    CONNECT = "connect"
    UNLOCK = "unlock"


@dataclass(frozen=True)
class Started:
    """The program runs."""


@dataclass(frozen=True)
class VaultRead:
    """The vault answered; None when it has no entry for this identity."""

    record: Record | None


@dataclass(frozen=True)
class VaultUnreadable:
    """The vault could not be asked."""

    reason: Reason


@dataclass(frozen=True)
class VaultWritten:
    """A write is durable."""

    step: Step


@dataclass(frozen=True)
class VaultWriteFailed:
    """A write did not take place."""

    step: Step
    reason: Reason


@dataclass(frozen=True)
class Connected:
    """The upgrade succeeded on connection number `connection`."""

    connection: int


@dataclass(frozen=True)
class Disconnected:
    """The connection ended or never came about."""

    connection: int
    failure: Failure


@dataclass(frozen=True)
class Received:
    """A message from the server."""

    connection: int
    message: ServerMessage


@dataclass(frozen=True)
class ProofReady:
    """The key derivation that ComputeProof asked for is done."""

    connection: int
    proof: str = field(repr=False)


@dataclass(frozen=True)
class ProofRefused:
    """The server's challenge is one that a client must not answer."""

    connection: int
    failure: Failure


@dataclass(frozen=True)
class TimerFired:
    """A timer has run out."""

    timer: Timer


@dataclass(frozen=True)
class SignedIn:
    """The user came to the desktop. `session` names the logon session."""

    session: str
    kind: SignInKind


@dataclass(frozen=True)
class NetworkChanged:
    """Resume, unlock or another network: worth trying at once."""


@dataclass(frozen=True)
class WarningShown:
    """The desktop showed the warning."""

    days_left: int


@dataclass(frozen=True)
class WarningFailed:
    """The desktop would not show the warning."""

    days_left: int


# --- what the user wants


@dataclass(frozen=True)
class SignInRequested:
    """Log in as `identity` with `password`, and keep both once the server has agreed.

    With the identity in use it updates the stored password. `request` is answered by Reply.
    """

    request: int
    identity: Identity
    password: str = field(repr=False)


@dataclass(frozen=True)
class ReconnectRequested:
    """Try now."""


@dataclass(frozen=True)
class LogoutRequested:
    """Forget the password."""

    request: int


@dataclass(frozen=True)
class QuitRequested:
    """End the program."""


Event = (
    Started
    | VaultRead
    | VaultUnreadable
    | VaultWritten
    | VaultWriteFailed
    | Connected
    | Disconnected
    | Received
    | ProofReady
    | ProofRefused
    | TimerFired
    | SignedIn
    | NetworkChanged
    | WarningShown
    | WarningFailed
    | SignInRequested
    | ReconnectRequested
    | LogoutRequested
    | QuitRequested
)
