"""What can happen to the client: one fact each, no behaviour."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import msgspec

from agent.core.credentials import Credentials, Identity
from agent.core.failure import Failure, Reason
from protocol.messages import ServerMessage


class RedactedStruct(msgspec.Struct, frozen=True):
    """Shows its name only: what it holds may be a secret."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class Instant(msgspec.Struct, frozen=True):
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


class Started(RedactedStruct, frozen=True):
    """The program runs."""


class VaultRead(RedactedStruct, frozen=True):
    """The vault answered; None when it has no entry for this identity."""

    record: Credentials | None


class VaultUnreadable(RedactedStruct, frozen=True):
    """The vault could not be asked."""

    reason: Reason


class VaultWritten(RedactedStruct, frozen=True):
    """A write is durable."""

    step: Step


class VaultWriteFailed(RedactedStruct, frozen=True):
    """A write did not take place."""

    step: Step
    reason: Reason


class Connected(RedactedStruct, frozen=True):
    """The upgrade succeeded on connection number `connection`."""

    connection: int


class Disconnected(RedactedStruct, frozen=True):
    """The connection ended or never came about."""

    connection: int
    failure: Failure


class Received(RedactedStruct, frozen=True):
    """A message from the server."""

    connection: int
    message: ServerMessage


class ProofReady(RedactedStruct, frozen=True):
    """The key derivation that ComputeProof asked for is done."""

    connection: int
    proof: str


class ProofRefused(RedactedStruct, frozen=True):
    """The server's challenge is one that a client must not answer."""

    connection: int
    failure: Failure


class TimerFired(RedactedStruct, frozen=True):
    """A timer has run out."""

    timer: Timer


class SignedIn(RedactedStruct, frozen=True):
    """The user came to the desktop. `session` names the logon session."""

    session: str
    kind: SignInKind


class NetworkChanged(RedactedStruct, frozen=True):
    """Resume, unlock or another network: worth trying at once."""


class WarningShown(RedactedStruct, frozen=True):
    """The desktop showed the warning."""

    days_left: int


class WarningFailed(RedactedStruct, frozen=True):
    """The desktop would not show the warning."""

    days_left: int


# --- what the user wants


class LoginRequested(RedactedStruct, frozen=True):
    """Log in as `identity` with `password`, and keep both once the server has agreed.

    With the identity in use it updates the stored password. `request` is answered by Reply.
    """

    request: int
    identity: Identity
    password: str


class ReconnectRequested(RedactedStruct, frozen=True):
    """Try now."""


class LogoutRequested(RedactedStruct, frozen=True):
    """Forget the password."""

    request: int


class QuitRequested(RedactedStruct, frozen=True):
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
    | LoginRequested
    | ReconnectRequested
    | LogoutRequested
    | QuitRequested
)
