"""How a new password becomes the stored one: pushed by the server, or typed by the user.

A pushed password is stored as pending first, then proved by a login, then committed: it takes the
place of the current one. So the password survives the end of the program, and the login tells the
server that the PC has it. A typed password is proved by a login first and stored then, and nothing
else changes before it is stored. When the vault's entry is not known, the vault is read first: the
entry may hold the key by which the server knows this PC.

One change runs at a time. A user's request waits for a change in progress, and so does a push; of
several pushes only the newest is kept. A second request is refused as busy. Every step waits for
the connection or for the vault, which have deadlines.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from msgspec.structs import replace

from agent.core import effects as do
from agent.core.credentials import Credentials, CredentialsError, Identity, Pending
from agent.core.effects import EffectQueue
from agent.core.events import LoginRequested
from agent.core.failure import Reason
from agent.core.transitions import Table
from protocol import messages as msg
from protocol.sealing import new_device_key, open_sealed


class Progress(Enum):
    """How far the change has come."""

    NONE = "none"
    READING = "reading"
    TYPED = "typed"
    PUSHED = "pushed"
    PENDING = "pending"
    PROVED = "proved"


_P = Progress
TABLE = Table(
    _P.NONE,
    {
        (_P.NONE, "password typed, vault not read"): _P.READING,
        (_P.NONE, "password typed"): _P.TYPED,
        (_P.READING, "vault read, or unreadable"): _P.TYPED,
        (_P.NONE, "password pushed"): _P.PUSHED,
        (_P.NONE, "pending password to prove"): _P.PENDING,
        (_P.PUSHED, "pending password to prove"): _P.PENDING,
        (_P.TYPED, "server accepted it"): _P.PROVED,
        (_P.PENDING, "server accepted it"): _P.PROVED,
    },
    anywhere={"stored, refused or given up": _P.NONE},
)


@dataclass
class TypedPassword:
    """A password that the user has typed, until the request is answered."""

    request: int
    identity: Identity
    credentials: Credentials
    console_url: str | None = None  # the console's address, from the server's welcome


class PasswordChange:
    """The change in progress, and the request and the push that wait for its end."""

    def __init__(self, emit: EffectQueue, *, machine: str) -> None:
        self._emit = emit
        self._machine = machine
        self._waiting_request: TypedPassword | None = None
        self._waiting_push: msg.PasswordChanged | None = None
        self.progress = Progress.NONE
        self.typed: TypedPassword | None = None

    @property
    def waits_for_vault(self) -> bool:
        return self.progress in {Progress.READING, Progress.PUSHED, Progress.PROVED}

    @property
    def is_typed_proved(self) -> bool:
        return self.typed is not None and self.progress is Progress.PROVED

    # --- typed

    def on_requested(self, event: LoginRequested) -> None:
        """Queue a user's request. Refuse it when a request is open, or no vault can hold it."""
        if self.typed is not None or self._waiting_request is not None:
            self._emit(do.Reply(event.request, Reason.BUSY))
            return
        credentials = Credentials(
            password=event.password,
            device_key=event.device_key or new_device_key(),
            machine=self._machine,
        )
        try:
            credentials.encode()
        except CredentialsError:
            self._emit(do.Reply(event.request, Reason.CREDENTIALS))
        else:
            self._waiting_request = TypedPassword(event.request, event.identity, credentials)

    def take_request(self) -> TypedPassword | None:
        """If no change runs, start one for the waiting request. Return that request, or None."""
        if self.progress is Progress.NONE and self._waiting_request is not None:
            self.typed, self._waiting_request = self._waiting_request, None
            return self.typed
        return None

    def end_typed(self, failure: Reason | None) -> None:
        if self.typed is not None:
            self._emit(do.Reply(self.typed.request, failure))
        self.typed = None
        self.go("stored, refused or given up")

    # --- pushed

    def begin_push(self, push: msg.PasswordChanged, credentials: Credentials) -> Pending:
        """Begin to store a pushed password, and return it.

        Raise SealError when it is not for this device, CredentialsError when no vault can hold it.
        """
        sealed = open_sealed(push, device_key=credentials.device_key)
        pending = Pending(change_id=sealed.change_id, password=sealed.password)
        replace(credentials, pending=pending).encode()
        self.go("password pushed")
        return pending

    def keep_push(self, push: msg.PasswordChanged, *, newest: bool = True) -> None:
        """Keep a push for later. Unless it is the `newest`, it does not replace another push."""
        if newest or self._waiting_push is None:
            self._waiting_push = push

    def take_push(self) -> msg.PasswordChanged | None:
        """Return the push that waits, if any; None also when a user's request waits."""
        if self._waiting_request is not None:
            return None
        push, self._waiting_push = self._waiting_push, None
        return push

    def end(self) -> None:
        """End the change to a pushed password. A change to a typed password goes on."""
        if self.typed is None:
            self.go("stored, refused or given up")

    # --- both

    def on_proved(self) -> None:
        """Note that the server has accepted the password. A typed password replaces a push."""
        self.go("server accepted it")
        if self.typed is not None:
            self._waiting_push = None

    def on_disconnected(self) -> None:
        """Give up a push: the server sends it again. A typed password goes on."""
        self._waiting_push = None
        self.end()

    def give_up(self) -> None:
        """End everything, and answer every request as busy."""
        if self._waiting_request is not None:
            self._emit(do.Reply(self._waiting_request.request, Reason.BUSY))
        self._waiting_request = None
        self.end_typed(Reason.BUSY)

    def go(self, step: str) -> None:
        self.progress = TABLE.next(self.progress, step)
