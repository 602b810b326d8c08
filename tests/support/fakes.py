"""Adapters in memory that obey the ports' rules, and record their calls."""

from __future__ import annotations

from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from gettext import NullTranslations
from threading import Condition, Event
from typing import Any

from agent.app import Adapters
from agent.control import ControlChannel
from agent.core import events as ev
from agent.core.credentials import Credentials, CredentialsError, Identity
from agent.core.failure import Reason
from agent.core.saved_state import SavedState
from agent.core.view import Command, View
from agent.ports import Accept, NotRunning, OnOutcome, Topic, VaultError
from protocol.messages import WarningOutcome


class FakeVault:
    """Stores encoded text, as a keyring does. `failure` makes every call fail."""

    def __init__(self) -> None:
        self.entries: dict[Identity, str] = {}
        self.failure: Reason | None = None
        self.writes: list[tuple[Identity, Credentials]] = []

    def read(self, identity: Identity) -> Credentials | None:
        self._check()
        text = self.entries.get(identity)
        if text is None:
            return None
        try:
            return Credentials.decode(text)
        except CredentialsError as exc:
            raise VaultError(Reason.VAULT_BROKEN, str(exc)) from None

    def write(self, identity: Identity, record: Credentials) -> None:
        try:
            text = record.encode()
        except CredentialsError as exc:
            raise VaultError(Reason.VAULT_BROKEN, str(exc)) from None
        self._check()
        self.entries[identity] = text
        self.writes.append((identity, record))

    def delete(self, identity: Identity) -> None:
        self._check()
        self.entries.pop(identity, None)

    @property
    def has_asked_user(self) -> bool:
        return False

    def _check(self) -> None:
        if self.failure is not None:
            raise VaultError(self.failure, "as the test wants it")


class FakeSavedStateStore:
    def __init__(self) -> None:
        self.entries: dict[Identity, SavedState] = {}

    def load(self, identity: Identity) -> SavedState:
        return self.entries.get(identity, SavedState())

    def save(self, identity: Identity, saved_state: SavedState) -> None:
        self.entries[identity] = saved_state


class FakeEnds:
    """A control channel that is claimed at once and gets no requests."""

    @asynccontextmanager
    async def listen(self, accept: Accept, *, limit: int) -> AsyncIterator[None]:
        yield

    async def connect(self, *, limit: int) -> tuple[StreamReader, StreamWriter]:
        raise NotRunning("no client is running")


class FakeTray:
    """A tray whose `run` blocks as the real one; `wait_for` waits for a shown view."""

    def __init__(self) -> None:
        self.views: list[View] = []
        self._changed = Condition()
        self._on_command: Callable[[Command], None] | None = None
        self._stopped = Event()

    def run(self, on_command: Callable[[Command], None]) -> None:
        with self._changed:
            self._on_command = on_command
            self._changed.notify_all()
        self._stopped.wait()

    def show(self, view: View) -> None:
        with self._changed:
            self.views.append(view)
            self._changed.notify_all()

    def translate(self, translations: NullTranslations) -> None: ...

    def stop(self) -> None:
        self._stopped.set()

    def pick(self, command: Command, *, timeout_s: float = 30) -> None:
        """Pick a command, as a click does. Raise TimeoutError when `run` is not called in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._on_command is not None, timeout_s):
                raise TimeoutError("the tray is not running")
        assert self._on_command is not None
        self._on_command(command)

    def wait_for(self, wanted: Callable[[View], bool], *, timeout_s: float = 30) -> View:
        """Return the newest view once `wanted` accepts it. Raise TimeoutError when it does not."""
        with self._changed:
            if not self._changed.wait_for(
                lambda: bool(self.views) and wanted(self.views[-1]), timeout_s
            ):
                raise TimeoutError(f"not shown; last were {self.views[-3:]}")
            return self.views[-1]


class FakeToaster:
    """Shows one toast per topic at once. `open` has each topic's function for outcomes."""

    def __init__(self) -> None:
        self.open: dict[Topic, Callable[[WarningOutcome], None]] = {}

    def show(self, topic: Topic, title: str, text: str, on_outcome: OnOutcome) -> None:
        self.open[topic] = on_outcome
        on_outcome(WarningOutcome.SHOWN)

    def withdraw(self, topic: Topic) -> None:
        self.open.pop(topic, None)

    def close(self) -> None:
        self.open.clear()


class FakeSignInWatcher:
    """Reports the events that the test sends."""

    def __init__(self) -> None:
        self.awake: list[bool] = []
        """Each change of "keep the PC awake", in order."""
        self.report: Callable[[ev.Event], None] = lambda _: None

    def session(self) -> str:
        return "session-1"

    def start(self, emit: Callable[[ev.Event], None]) -> None:
        self.report = emit

    def keep_awake(self, wanted: bool, /) -> None:
        if self.awake[-1:] != [wanted]:
            self.awake.append(wanted)

    def stop(self) -> None:
        self.report = lambda _: None


class FakeDialogs:
    """Counts the windows that it was asked to show."""

    def __init__(self) -> None:
        self.asked = self.status_shown = 0
        self.views: list[View] = []

    def ask_password(self, *, change_account: bool = False) -> None:
        self.asked += 1

    def ask_log_out(self) -> None:
        self.asked += 1

    def show_status(self, *, quietly: bool = False) -> None:
        self.status_shown += 1

    def show_about(self) -> None: ...

    def refresh(self, view: View) -> None:
        self.views.append(view)

    def translate(self, translations: NullTranslations) -> None: ...

    def close(self) -> None: ...


def fake_adapters(**others: Any) -> Adapters:
    """Return adapters in memory for a client, some of them replaced by `others`."""
    adapters: dict[str, Any] = {
        "vault": FakeVault(),
        "saved_state": FakeSavedStateStore(),
        "channel": ControlChannel(FakeEnds()),
        "save_identity": lambda _: None,
    }
    return Adapters(**adapters | others)
