"""What happens to the client: one struct for each kind of event.

An event about the vault has the number of the request that it answers; an event about a connection
has the connection's number.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import msgspec

from agent.core.credentials import Credentials, Identity
from agent.core.failure import Failure, Reason
from protocol.messages import Farewell, ServerMessage, WarningOutcome


class RedactedStruct(msgspec.Struct, frozen=True):
    """Base of events and effects. Its repr shows no field, because a field may hold a secret."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class Event(RedactedStruct, frozen=True):
    """Base of all events."""


class Instant(msgspec.Struct, frozen=True):
    """A moment by the PC's wall clock (UTC, may be wrong) and by a steady clock, in seconds."""

    wall: datetime
    steady: float


class Timer(Enum):
    """The timers that the machine sets."""

    RETRY = "retry"
    CONNECTION = "connection"
    VAULT_ANSWER = "vault_answer"
    VAULT_RETRY = "vault_retry"
    WARNING = "warning"
    TOAST = "toast"
    MIDNIGHT = "midnight"


class SignInKind(Enum):
    """How the user came to the desktop."""

    SIGN_IN = "sign_in"
    CONNECT = "connect"
    UNLOCK = "unlock"


class Started(Event, frozen=True):
    """The program has started."""


class VaultRead(Event, frozen=True):
    """The vault has answered a read; `credentials` is None when there is no entry."""

    number: int
    credentials: Credentials | None


class VaultWritten(Event, frozen=True):
    """The vault has written or deleted an entry durably."""

    number: int


class VaultFailed(Event, frozen=True):
    """The vault could not read, write or delete."""

    number: int
    reason: Reason


class Connected(Event, frozen=True):
    """The upgrade of a connection has succeeded."""

    connection: int


class Disconnected(Event, frozen=True):
    """A connection has ended, or could not be opened."""

    connection: int
    failure: Failure


class Received(Event, frozen=True):
    """The server has sent a message."""

    connection: int
    message: ServerMessage


class ProofReady(Event, frozen=True):
    """The proof that ComputeProof asked for is ready."""

    connection: int
    proof: str


class ProofRefused(Event, frozen=True):
    """The server has sent a challenge that a client must not answer."""

    connection: int
    failure: Failure


class TimerFired(Event, frozen=True):
    """A timer has fired."""

    timer: Timer


class SignedIn(Event, frozen=True):
    """The user has come to the desktop. `session` names the logon session."""

    session: str
    kind: SignInKind


class NetworkChanged(Event, frozen=True):
    """The PC has resumed, or its network has changed: a try at once may succeed."""


class UserLeft(Event, frozen=True):
    """The user has locked the desktop or disconnected from it; SignedIn: the user is back."""


class WarningAnswered(Event, frozen=True):
    """The desktop reports an outcome of a warning; no days: it said that a password is needed."""

    days_left: int | None
    outcome: WarningOutcome


# --- what the user wants


class LoginRequested(Event, frozen=True):
    """The user has typed a password: log in with it, and store it when the server accepts it.

    `request` is answered by Reply. `device_key` is the key that the password was sealed for, when
    the user has typed it on another device (`agent/pairing.py`).
    """

    request: int
    identity: Identity
    password: str
    device_key: str | None = None


class ReconnectRequested(Event, frozen=True):
    """The user wants another try now."""


class LogoutRequested(Event, frozen=True):
    """The user wants the stored password deleted. `request` is answered by Reply."""

    request: int


class Suspending(Event, frozen=True):
    """The PC goes to sleep."""


class SessionEnding(Event, frozen=True):
    """The user's Windows session is about to end, for this reason; None: it does not end."""

    farewell: Farewell | None


class QuitRequested(Event, frozen=True):
    """The program is to end, because of an update or because the user wants it to."""

    farewell: Farewell = "quit"
