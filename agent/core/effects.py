"""What the machine wants done. The runtime performs effects in the order given."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent.core.events import Step, Timer
from agent.core.failure import Reason
from agent.core.handshake import Handshake
from agent.core.memory import Memory
from agent.core.messages import ClientMessage
from agent.core.record import Identity, Record


@dataclass(frozen=True)
class ReadVault:
    """Answered by VaultRead or VaultUnreadable."""

    identity: Identity


@dataclass(frozen=True)
class WriteVault:
    """Answered by VaultWritten or VaultWriteFailed with the same step."""

    identity: Identity
    record: Record
    step: Step


@dataclass(frozen=True)
class DeleteFromVault:
    """Answered like a write. Deleting what is not there is no failure."""

    identity: Identity
    step: Step | None
    """None: nobody waits for the answer."""


@dataclass(frozen=True)
class SaveMemory:
    """Not answered; a failure is logged."""

    identity: Identity
    memory: Memory


@dataclass(frozen=True)
class SaveIdentity:
    """Write server and user to the settings file."""

    identity: Identity


@dataclass(frozen=True)
class Connect:
    """Open connection number `connection`: Connected, Received…, Disconnected."""

    connection: int
    server: str


@dataclass(frozen=True)
class Disconnect:
    """Close the connection; what it still says is dropped by its number."""

    connection: int


@dataclass(frozen=True)
class Probe:
    """See at once whether the connection still lives: a ping with a short patience."""

    connection: int


@dataclass(frozen=True)
class Send:
    """Send a message, or drop it when the connection is gone."""

    connection: int
    message: ClientMessage = field(repr=False)


@dataclass(frozen=True)
class ComputeProof:
    """Make the proof on another thread (0.3 s of CPU at first): ProofReady or ProofRefused."""

    connection: int
    handshake: Handshake
    challenge: str = field(repr=False)


@dataclass(frozen=True)
class StartTimer:
    """Fire once in `delay_s` seconds, instead of when it was to fire before."""

    timer: Timer
    delay_s: float


@dataclass(frozen=True)
class StopTimer:
    """Forget the timer."""

    timer: Timer


@dataclass(frozen=True)
class ShowWarning:
    """The toast of the manual: WarningShown or WarningFailed."""

    days_left: int


@dataclass(frozen=True)
class WithdrawWarning:
    """Take the toast away: it is no longer true."""


@dataclass(frozen=True)
class AskForPassword:
    """Tell the user, once, that the client waits for a password."""

    reason: Reason


@dataclass(frozen=True)
class Reply:
    """Answer a request of the user; `failure` is None when it was done."""

    request: int
    failure: Reason | None


@dataclass(frozen=True)
class Quit:
    """End the program."""


Effect = (
    ReadVault
    | WriteVault
    | DeleteFromVault
    | SaveMemory
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


class Outbox:
    """Collects what is wanted done about one event, in order."""

    def __init__(self) -> None:
        self._effects: list[Effect] = []

    def __call__(self, *effects: Effect) -> None:
        self._effects.extend(effects)

    def take(self) -> list[Effect]:
        """All that was collected; the box is empty then."""
        taken, self._effects = self._effects, []
        return taken
