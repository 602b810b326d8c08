"""What the machine wants done. The runtime performs the effects of one event in their order."""

from __future__ import annotations

from datetime import date
from enum import Enum

from agent.core.credentials import Credentials, Identity
from agent.core.events import RedactedStruct, Timer
from agent.core.failure import Reason
from agent.core.saved_state import SavedState
from protocol.messages import ClientMessage, Farewell
from protocol.scram import ClientLogin


class WriteReason(Enum):
    """Why the vault is written to."""

    PENDING = "pending"  # to store a pushed password beside the current one
    COMMIT = "commit"  # to make a proved password the current one, or to repeat a failed write
    TYPED = "typed"  # to store a typed password that the server has accepted
    REFUSED = "refused"  # to mark a password as refused
    NEW_KEY = "new_key"  # to replace the device key on a copied PC
    FORGET_PENDING = "forget_pending"  # to remove a pushed password that the server has refused


class Effect(RedactedStruct, frozen=True):
    """Base of all effects."""


class ReadVault(Effect, frozen=True):
    """Read an entry. Answered by VaultRead or VaultFailed with the same number."""

    number: int
    identity: Identity


class WriteVault(Effect, frozen=True):
    """Write an entry. Answered by VaultWritten or VaultFailed with the same number."""

    number: int
    identity: Identity
    credentials: Credentials
    reason: WriteReason


class DeleteFromVault(Effect, frozen=True):
    """Delete an entry, if there is one. Answered by VaultWritten or VaultFailed."""

    number: int
    identity: Identity


VaultEffect = ReadVault | WriteVault | DeleteFromVault


class SaveState(Effect, frozen=True):
    """Save the state for later runs. Not answered; the runtime logs a failure and tries again."""

    identity: Identity
    saved_state: SavedState


class SaveIdentity(Effect, frozen=True):
    """Write server and user to the settings file. Not answered, like SaveState."""

    identity: Identity


class Connect(Effect, frozen=True):
    """Open a connection. Answered by Connected, then Received, and at the end Disconnected."""

    connection: int
    server: str


class Disconnect(Effect, frozen=True):
    """Close a connection; `farewell` tells the server why, if any. Its late events are dropped."""

    connection: int
    farewell: Farewell | None


class Probe(Effect, frozen=True):
    """Ping the server now, and close the connection unless it answers within seconds."""

    connection: int


class Send(Effect, frozen=True):
    """Send a message, or drop it when the connection has ended."""

    connection: int
    message: ClientMessage


class ComputeProof(Effect, frozen=True):
    """Compute the proof on another thread. Answered by ProofReady or ProofRefused."""

    connection: int
    handshake: ClientLogin
    challenge: str


class StartTimer(Effect, frozen=True):
    """Start a timer that fires once, in `delay_s` seconds, or restart it."""

    timer: Timer
    delay_s: float


class StopTimer(Effect, frozen=True):
    """Stop a timer, if it runs."""

    timer: Timer


class ShowWarning(Effect, frozen=True):
    """Warn that the old password ends on `last_day`, a local day. Answered by WarningAnswered."""

    days_left: int
    last_day: date


class WithdrawWarning(Effect, frozen=True):
    """Take back the warning, because it is no longer true."""


class OpenStatus(Effect, frozen=True):
    """Open the status window without taking the keyboard focus."""


class AskForPassword(Effect, frozen=True):
    """Ask for a password; `reason` None: none is stored. Answered by WarningAnswered, no days."""

    reason: Reason | None


class TellReceived(Effect, frozen=True):
    """Tell the user that a pushed password was stored."""


class Reply(Effect, frozen=True):
    """Answer a request of the user. `failure` is None when the request was carried out."""

    request: int
    failure: Reason | None


class Quit(Effect, frozen=True):
    """End the program."""


class EffectQueue:
    """The effects of one event, in order. Call it to add effects."""

    def __init__(self) -> None:
        self._effects: list[Effect] = []

    def __call__(self, *effects: Effect) -> None:
        self._effects.extend(effects)

    def take(self) -> list[Effect]:
        taken, self._effects = self._effects, []
        return taken
