"""What is saved about the account in use; a credential cache without an entry."""

from __future__ import annotations

from datetime import UTC, timedelta

import pytest

from agent.core import effects as do
from agent.core.account_context import AccountContext
from agent.core.credential_cache import CredentialCache
from agent.core.credentials import NO_IDENTITY
from agent.core.effects import EffectQueue
from agent.core.events import Instant
from agent.core.saved_state import SavedState
from tests.support.core_driver import BEGIN, HOME

NOW = Instant(BEGIN, 1000.0)


@pytest.mark.parametrize("url", ["javascript:alert(1)", "http://elsewhere.example/", "file:///x"])
def test_an_address_that_must_not_be_opened_is_not_saved(url: str) -> None:
    """An address that must not be opened is not saved, so no menu or browser gets it."""
    account = AccountContext(HOME, SavedState(), local=UTC, emit=EffectQueue())
    for said, kept in (
        ("https://console.example.com/", "https://console.example.com/"),
        (url, None),
    ):
        account.remember_server(said)
        assert account.saved_state.console_url == kept


def test_what_changes_is_saved_once() -> None:
    """A change is saved once (the clock's offset in whole seconds), never without an account."""
    emit = EffectQueue()
    account = AccountContext(HOME, SavedState(), local=UTC, emit=emit)
    account.set_server_time(NOW.wall + timedelta(seconds=90.4), NOW)
    for _ in range(2):
        account.remember_server(None)
    saved = [each.saved_state for each in emit.take() if isinstance(each, do.SaveState)]
    assert saved == [SavedState(clock_offset_s=90)]
    AccountContext(NO_IDENTITY, SavedState(), local=UTC, emit=emit).remember(asked_session="s")
    assert emit.take() == []


def test_a_cache_without_credentials() -> None:
    """Without credentials the cache commits, withdraws and drops nothing, and makes no key."""
    emit = EffectQueue()
    account = AccountContext(HOME, SavedState(), local=None, emit=emit)
    cache = CredentialCache(account, emit, salt="salt", machine="")
    assert cache.commit_pending() is False
    assert cache.withdraw_pending("a" * 32) is False
    cache.drop_pending()
    for steady in range(3):
        cache.on_superseded(Instant(BEGIN, steady))
    assert emit.take() == []
