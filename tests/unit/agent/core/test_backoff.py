"""Delays: spread out, growing, never at once, and never sooner than the server asked."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.core.backoff import delay_s, prompt_s, vault_s
from agent.core.failure import Failure, Patience, Reason

reasons = st.sampled_from(list(Reason))
RARELY = {Reason.SUPERSEDED, Reason.PROXY_LOGIN}
chances = st.floats(0, 1, exclude_max=True)


@given(reasons, st.integers(0, 10**6), chances, st.none() | st.floats(0, 86_400))
@example(Reason.SUPERSEDED, 0, 0.0, None)  # so two programs with one key do not fight
@example(Reason.SUPERSEDED, 0, 0.0, 600.0)
@example(Reason.PROXY_LOGIN, 0, 0.0, None)  # so the proxy does not lock the account
def test_every_delay_is_between_floor_and_ceiling(
    reason: Reason, tries: int, chance: float, least: float | None
) -> None:
    """A delay is at least what the server asks for, and at most half an hour more."""
    failure = Failure(reason, least)
    delay = delay_s(failure, tries=tries, random=chance)
    named = max(least or 0.0, 300.0 if reason in RARELY else 0.0)
    assert delay >= named + (0.3 if failure.patience is Patience.SOON else 6.0)
    assert delay <= named + (300.0 if failure.patience is Patience.SOON else 1800.0)


@given(reasons, st.integers(0, 30), chances)
def test_delays_never_shrink_with_tries(reason: Reason, tries: int, chance: float) -> None:
    """With the same luck a later try waits as long or longer."""
    failure = Failure(reason)
    assert delay_s(failure, tries=tries + 1, random=chance) >= delay_s(
        failure, tries=tries, random=chance
    )


@pytest.mark.parametrize(("reason", "span"), [(Reason.CONNECTION_LOST, 3), (Reason.DISABLED, 60)])
def test_a_thousand_clients_come_back_spread_out(reason: Reason, span: float) -> None:
    """After a server's restart no tenth of the span gets more than a fair share and a half."""
    source = random.Random(1)
    delays = [delay_s(Failure(reason), tries=0, random=source.random()) for _ in range(1000)]
    low, high = min(delays), max(delays)
    assert low >= span / 10
    assert high <= span
    tenths = [0] * 10
    for delay in delays:
        tenths[min(9, int((delay - span * 0.1) / (span * 0.9) * 10))] += 1
    assert max(tenths) <= 150
    assert min(tenths) >= 50


def test_retry_after_is_a_least_with_the_spread_on_top() -> None:
    """Clients told the same wait do not come back in the same second."""
    failure = Failure(Reason.SHUTTING_DOWN, 30.0)
    source = random.Random(2)
    delays = sorted(delay_s(failure, tries=3, random=source.random()) for _ in range(1000))
    assert delays[0] >= 30
    assert delays[-1] - delays[0] > 20


@given(chances)
def test_prompt_and_vault_tries_are_jittered_too(chance: float) -> None:
    """A resumed office does not arrive at once; the vault is left alone for half a minute."""
    for reason in Reason:
        since_s = 400.0 if reason in RARELY else 0.0
        assert 0.1 <= prompt_s(Failure(reason), since_s=since_s, random=chance) <= 1.1
    assert prompt_s(Failure(Reason.PROXY_LOGIN), since_s=100, random=chance) == 200
    assert 30 <= vault_s(random=chance) <= 90
