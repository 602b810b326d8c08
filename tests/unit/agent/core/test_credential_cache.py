"""The credential cache alone: its calls without an identity or an entry."""

from __future__ import annotations

from agent.core.account_context import AccountContext
from agent.core.credential_cache import CredentialCache
from agent.core.credentials import Identity
from agent.core.effects import EffectQueue
from agent.core.events import Instant
from agent.core.saved_state import SavedState
from tests.support.core_driver import BEGIN


def test_without_credentials() -> None:
    """Nothing is committed, withdrawn or dropped, and no device key is made."""
    emit = EffectQueue()
    home = Identity(server="wss://gw.example.com/gateway", user="tanaka")
    account = AccountContext(home, SavedState(), local=None, emit=emit)
    cache = CredentialCache(account, emit, salt="salt", machine="")
    assert cache.commit_pending() is False
    assert cache.withdraw_pending("a" * 32) is False
    cache.drop_pending()
    for steady in range(3):
        cache.on_superseded(Instant(BEGIN, steady))
    assert emit.take() == []
