"""What the client needs of its PC, one Protocol each. `desktop.py` chooses the implementations.

The errors that a port names are expected, and none of them carries a secret. Any other exception of
an adapter is a defect: the caller logs it, and the client goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from enum import Enum
from gettext import NullTranslations
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol

from agent.errors import AgentError

if TYPE_CHECKING:  # the tray's icon needs none of these modules
    from asyncio import StreamReader, StreamWriter

    from agent.core.credentials import Credentials, Identity
    from agent.core.events import Event
    from agent.core.failure import Reason
    from agent.core.view import Command, View
    from protocol.messages import WarningOutcome

log = logging.getLogger(__name__)

P = ParamSpec("P")


def call_adapter(call: Callable[P, None], *arguments: P.args, **named: P.kwargs) -> None:
    """Call into an adapter, and log what it raises."""
    try:
        call(*arguments, **named)
    except Exception:
        log.exception("an adapter has failed")


class VaultError(AgentError):
    """The keyring has failed. `reason` is one of `Reason.VAULT_…`."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class ChannelError(AgentError):
    """The running client does not answer, or the channel cannot be opened."""


class NotRunning(ChannelError):
    """No client is running."""


class Vault(Protocol):
    """The OS keyring: one entry per identity. Calls block; make them off the loop."""

    def read(self, identity: Identity) -> Credentials | None:
        """Return the entry, None when there is no entry. Raise VaultError."""

    def write(self, identity: Identity, record: Credentials) -> None:
        """Replace the entry; durable on return, and no older copy is left. Raise VaultError."""

    def delete(self, identity: Identity) -> None:
        """Delete the entry, if there is one. Raise VaultError."""

    @property
    def has_asked_user(self) -> bool:
        """Return whether the call under way asks the user, and so may take long. Any thread."""


class Tray(Protocol):
    """The icon in the notification area. `run` takes the main thread; the rest, any thread."""

    def run(self, on_command: Callable[[Command], None]) -> None:
        """Block until `stop`; call `on_command` for what the user picks. Raise TrayError."""

    def show(self, view: View) -> None:
        """Draw this view in place of the last one."""

    def translate(self, translations: NullTranslations, /) -> None:
        """Use another language from now on."""

    def stop(self) -> None:
        """End `run`, now or as soon as it begins."""


class TrayError(AgentError):
    """The icon cannot be shown, or is lost."""


class Topic(Enum):
    """What a notification is about. Each topic is shown and withdrawn without the others."""

    WARNING = "warning"  # the password is old: true until a login or logout; shown until seen
    PASSWORD = "password"  # a password is needed: true and shown as long as a WARNING
    RECEIVED = "received"  # a pushed password was stored; disturbs the user less
    SETTINGS = "settings"  # what was wrong at the start: true until the next start
    UNSAVED = "unsaved"  # the settings cannot be saved: true until they are saved
    ACTION = "action"  # the outcome of an entry of the menu


OnOutcome = Callable[["WarningOutcome"], None]


class Toaster(Protocol):
    """Desktop notifications. Calls return at once."""

    def show(self, topic: Topic, title: str, text: str, on_outcome: OnOutcome, /) -> None:
        """Show a toast, in place of an earlier one about the same topic.

        Call `on_outcome`, on any thread, for each outcome that becomes known: first SHOWN,
        UNSEEN or FAILED, later perhaps CLICKED or DISMISSED. UNSEEN: nothing is left on the screen.
        """

    def withdraw(self, topic: Topic) -> None:
        """Remove the toasts about `topic`, shown or waiting."""

    def close(self) -> None:
        """Remove all toasts and end the worker thread."""


class SignInWatcher(Protocol):
    """A watcher: reports when the user comes and leaves, and when the network may have changed."""

    def session(self) -> str:
        """Return a name for the logon session of this process; every sign-in gives another."""

    def start(self, emit: Callable[[Event], None]) -> None:
        """Call `emit`, on any thread, from now on. The start itself is not reported.

        For Suspending and QuitRequested, `emit` returns when the client has left the server.
        """

    def keep_awake(self, wanted: bool, /) -> None:  # noqa: FBT001 - the only argument
        """If `wanted`, keep the PC from going to sleep on mains power until `stop`; else let it."""

    def stop(self) -> None:
        """Report no more."""


class Autostart(Protocol):
    """The switch 'start at sign-in' of this user. Calls block for a moment."""

    def enabled(self) -> bool | None:
        """Return whether the switch is on; None: an administrator has switched it on for all."""

    def enable(self) -> None:
        """Switch it on. Raise OSError."""

    def disable(self) -> None:
        """Switch it off. Raise OSError."""


Request = dict[str, Any]  # `{"command": …}` with its arguments, or an answer

Accept = Callable[["StreamReader", "StreamWriter"], None]


class ChannelEnds(Protocol):
    """The two ends of the control channel; `limit` is the longest line, in bytes."""

    def listen(self, accept: Accept, *, limit: int) -> AbstractAsyncContextManager[None]:
        """Claim the channel, and call `accept` for each peer. Raise ChannelBusy or ChannelError."""

    async def connect(self, *, limit: int) -> tuple[StreamReader, StreamWriter]:
        """Connect to the running client. Raise NotRunning; ChannelError if another user listens."""


class ChannelBusy(AgentError):
    """Another client of this user is running."""
