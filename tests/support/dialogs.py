"""The client behind the dialogs, for tests of its answers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from gettext import NullTranslations

from agent.core.failure import Reason
from agent.core.state import State
from agent.core.view import Command, View
from agent.dialogs import messages as msg
from agent.dialogs.host import ProcessDialogs, _refused
from agent.dialogs.pairing import CodeAttempts
from agent.pairing import Code
from agent.settings import Settings
from protocol.pairing import words
from tests.support.places import ROOT

ASSETS = ROOT / "agent" / "assets"
ENGLISH = NullTranslations()
SERVER = "wss://gw.example.com/gateway"
OLD = View(
    State.STANDBY_OLD_PASSWORD,
    server=SERVER,
    user="tanaka",
    days_left=30,
    valid_until=datetime(2026, 12, 23, 3, tzinfo=UTC),
)
LOGGED_OUT = View(State.LOGGED_OUT)
SUGGESTED = Settings(server=SERVER)
ENFORCED = Settings(server=SERVER, user="tanaka", enforced=frozenset({"server", "user"}))


class Client:
    """A client for the dialogs; `answers` has the result of each password."""

    def __init__(self, settings: Settings = SUGGESTED, start: list[str] | None = None) -> None:
        self.view = OLD
        self.submitted: list[tuple[str, str, str]] = []
        self.answers: dict[str, Reason | None] = {}
        self.picked: list[Command] = []
        self.unanswered: list[Future[Reason | None]] = []
        self.pairings: list[Pairing] = []
        self.dialogs = ProcessDialogs(
            log_in=self.log_in,
            pair=self.pair,
            view=lambda: self.view,
            on_command=self.picked.append,
            translations=ENGLISH,
            settings=settings,
            start=start,
        )

    def answer(self, message: msg.FromDialog, *, first: bool = False) -> msg.FromClient | None:
        """Return the client's answer to a window; `first`: the window of the first log-in."""
        codes = CodeAttempts(self.pair, _refused, ENGLISH)
        return self.dialogs._answer(message, first=first, codes=codes)

    def log_in(self, server: str, user: str, password: str) -> Future[Reason | None]:
        self.submitted.append((server, user, password))
        future: Future[Reason | None] = Future()
        if password in self.answers:
            future.set_result(self.answers[password])
        else:
            self.unanswered.append(future)
        return future

    def pair(
        self, server: str, show: Callable[[Code], None], ask: Callable[[str], Future[None]]
    ) -> Future[Reason | None]:
        self.pairings.append(Pairing(server, show, ask))
        self.unanswered.append(self.pairings[-1].done)
        return self.pairings[-1].done


@dataclass
class Pairing:
    """A code that a window has asked for."""

    server: str
    show: Callable[[Code], None]
    ask: Callable[[str], Future[None]]
    done: Future[Reason | None] = field(default_factory=Future)


CODE = Code("BCDF-2345", words("BCDF2345", f"{'A' * 43}="), 600)
