"""What the machine wants done. The runtime performs effects in the order given."""

from __future__ import annotations

from agent.core.credentials import Credentials, Identity
from agent.core.events import RedactedStruct, Step, Timer
from agent.core.failure import Reason
from agent.core.saved_state import SavedState
from protocol.messages import ClientMessage
from protocol.scram import ClientLogin


class ReadVault(RedactedStruct, frozen=True):
    """Answered by VaultRead or VaultUnreadable."""

    identity: Identity


class WriteVault(RedactedStruct, frozen=True):
    """Answered by VaultWritten or VaultWriteFailed with the same step."""

    identity: Identity
    record: Credentials
    step: Step


class DeleteFromVault(RedactedStruct, frozen=True):
    """Answered like a write. Deleting what is not there is no failure."""

    identity: Identity
    step: Step | None
    """None: nobody waits for the answer."""


class SaveState(RedactedStruct, frozen=True):
    """Not answered; a failure is logged."""

    identity: Identity
    memory: SavedState


class SaveIdentity(RedactedStruct, frozen=True):
    """Write server and user to the settings file."""

    identity: Identity


class Connect(RedactedStruct, frozen=True):
    """Open connection number `connection`: Connected, Received…, Disconnected."""

    connection: int
    server: str


class Disconnect(RedactedStruct, frozen=True):
    """Close the connection; what it still says is dropped by its number."""

    connection: int


class Probe(RedactedStruct, frozen=True):
    """See at once whether the connection still lives: a ping with a short patience."""

    connection: int


class Send(RedactedStruct, frozen=True):
    """Send a message, or drop it when the connection is gone."""

    connection: int
    message: ClientMessage


class ComputeProof(RedactedStruct, frozen=True):
    """Make the proof on another thread (0.3 s of CPU at first): ProofReady or ProofRefused."""

    connection: int
    handshake: ClientLogin
    challenge: str


class StartTimer(RedactedStruct, frozen=True):
    """Fire once in `delay_s` seconds, instead of when it was to fire before."""

    timer: Timer
    delay_s: float


class StopTimer(RedactedStruct, frozen=True):
    """Forget the timer."""

    timer: Timer


class ShowWarning(RedactedStruct, frozen=True):
    """The toast of the manual: WarningShown or WarningFailed."""

    days_left: int


class WithdrawWarning(RedactedStruct, frozen=True):
    """Take the toast away: it is no longer true."""


class AskForPassword(RedactedStruct, frozen=True):
    """Tell the user, once, that the client waits for a password."""

    reason: Reason


class Reply(RedactedStruct, frozen=True):
    """Answer a request of the user; `failure` is None when it was done."""

    request: int
    failure: Reason | None


class Quit(RedactedStruct, frozen=True):
    """End the program."""


Effect = (
    ReadVault
    | WriteVault
    | DeleteFromVault
    | SaveState
    | SaveIdentity
    | Connect
    | Disconnect
    | Probe
    | Send
    | ComputeProof
    | StartTimer
    | StopTimer
    | ShowWarning
    | WithdrawWarning
    | AskForPassword
    | Reply
    | Quit
)


class EffectQueue:
    """Collects what is wanted done about one event, in order."""

    def __init__(self) -> None:
        self._effects: list[Effect] = []

    def __call__(self, *effects: Effect) -> None:
        self._effects.extend(effects)

    def take(self) -> list[Effect]:
        """All that was collected; the box is empty then."""
        taken, self._effects = self._effects, []
        return taken
