"""What is saved about the account in use, and what of it is believed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agent.core import effects as do
from agent.core.account_context import AccountContext
from agent.core.credentials import NO_IDENTITY, Identity
from agent.core.effects import EffectQueue
from agent.core.events import Instant
from agent.core.saved_state import SavedState

HOME = Identity(server="wss://gw.example.com/gateway", user="tanaka")
NOW = Instant(datetime(2026, 11, 23, 3, tzinfo=UTC), 1000.0)


@pytest.mark.parametrize("url", ["javascript:alert(1)", "http://elsewhere.example/", "file:///x"])
def test_an_address_that_must_not_be_opened_is_not_saved(url: str) -> None:
    """A console address that must not be opened is not saved, so no menu or browser gets it."""
    account = AccountContext(HOME, SavedState(), local=UTC, emit=EffectQueue())
    account.remember_server("https://console.example.com/")
    assert account.saved_state.console_url == "https://console.example.com/"
    account.remember_server(url)
    assert account.saved_state.console_url is None


def test_what_changes_is_saved_once() -> None:
    """The clock's offset in whole seconds; nothing without an account, and nothing twice."""
    emit = EffectQueue()
    account = AccountContext(HOME, SavedState(), local=UTC, emit=emit)
    account.set_server_time(NOW.wall + timedelta(seconds=90.4), NOW)
    for _ in range(2):
        account.remember_server(None)
    assert [each.saved_state for each in emit.take() if isinstance(each, do.SaveState)] == [
        SavedState(clock_offset_s=90)
    ]
    AccountContext(NO_IDENTITY, SavedState(), local=UTC, emit=emit).remember(asked_session="s")
    assert emit.take() == []
