"""What the client needs of its surroundings, one Protocol each; `adapters/` has them for real.

Only errors named here may leave an adapter. None of them carries a secret.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from gettext import NullTranslations
from typing import Any, Protocol

from agent.core.credentials import Credentials, Identity
from agent.core.events import NetworkChanged, SignedIn
from agent.core.failure import Reason
from agent.core.saved_state import SavedState
from agent.core.view import Command, View
from agent.errors import AgentError


class VaultError(AgentError):
    """The keyring would not do it. `reason` is one of VAULT_LOCKED, _MISSING and _BROKEN."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class ToastError(AgentError):
    """The desktop would not show the toast."""


class ChannelError(AgentError):
    """No client is running, or it does not answer."""


class Vault(Protocol):
    """The OS keyring: one entry per identity. Calls block; make them off the loop."""

    def read(self, identity: Identity) -> Credentials | None:
        """None when there is no entry. Raise VaultError."""

    def write(self, identity: Identity, record: Credentials) -> None:
        """Replace the entry; durable on return, and no older copy is left. Raise VaultError."""

    def delete(self, identity: Identity) -> None:
        """Leave no entry. Raise VaultError."""

    def close(self) -> None:
        """Ask the user no more to unlock it; a call that waits for that fails now. Any thread."""


class SavedStateStore(Protocol):
    """The file beside the vault. Calls block; make them off the loop."""

    def load(self, identity: Identity) -> SavedState:
        """An empty SavedState when there is none; a broken file is set aside and logged."""

    def save(self, identity: Identity, memory: SavedState) -> None:
        """Replace the file in one step. Raise OSError."""


class Tray(Protocol):
    """The icon. `run` owns the main thread; everything else may be called on any thread."""

    def run(self, on_command: Callable[[Command], None]) -> None:
        """Block until `stop`. `on_command` is called for what the user picks."""

    def show(self, view: View) -> None:
        """Draw this; the newest wins."""

    def balloon(self, title: str, text: str) -> None:
        """The tray's own notification, for when there is no toast. Raise ToastError."""

    def translate(self, translations: NullTranslations, /) -> None:
        """Speak another language from now on."""

    def stop(self) -> None:
        """End `run`, now or as soon as it begins."""


class Toaster(Protocol):
    """Desktop notifications. Calls return at once; `show` tells later what became of it."""

    def show(
        self,
        title: str,
        text: str,
        *,
        on_done: Callable[[Exception | None], None],
        on_click: Callable[[], None],
    ) -> None:
        """`on_done` is called once, on any thread: None when it is on the screen, or ToastError."""

    def withdraw(self) -> None:
        """Take back what is shown; nothing when there is nothing."""

    def close(self) -> None:
        """Withdraw and end the worker."""


class SignInWatcher(Protocol):
    """Tells when somebody comes to the desktop, and when the network may have changed."""

    def session(self) -> str:
        """A name for the logon session this process runs in, another after each sign-in."""

    def start(self, emit: Callable[[SignedIn | NetworkChanged], None]) -> None:
        """Call `emit`, on any thread, from now on. The start itself is not reported."""

    def stop(self) -> None:
        """Report no more."""


class Dialogs(Protocol):
    """Windows that ask or tell, in short-lived processes of their own; one at a time."""

    def ask_password(self) -> None:
        """Bring up 'update the stored password' (or first set-up when nobody is signed in)."""

    def show_status(self) -> None:
        """Bring up the small status window."""

    def show_about(self) -> None:
        """Bring up the program's name and version."""

    def refresh(self, view: View) -> None:
        """Tell an open status window what is new."""

    def translate(self, translations: NullTranslations) -> None:
        """Speak another language from now on."""

    def close(self) -> None:
        """End what is open."""


Request = dict[str, Any]
"""A command on the control channel: `{"command": …}` and its arguments; the answer likewise."""


class ControlChannel(Protocol):
    """How other processes of this user, and nobody else, talk to the running client."""

    async def serve(
        self, handle: Callable[[Request], Awaitable[Request]], *, claimed: Callable[[], None]
    ) -> None:
        """Claim the channel, call `claimed`, and answer until cancelled.

        Raise ChannelBusy when another client has it, ChannelError when it cannot be opened.
        """


class ChannelBusy(AgentError):
    """Another client of this user is running."""
