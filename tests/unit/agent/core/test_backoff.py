"""Delays before the next try: random, growing, and never less than the server asked for."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.backoff import delay_s, prompt_s, vault_s
from agent.core.failure import Failure, Reason

reasons = st.sampled_from(list(Reason))
RARELY = {Reason.SUPERSEDED, Reason.PROXY_LOGIN}
chances = st.floats(0, 1, exclude_max=True)


@given(reasons, st.integers(0, 10**6), chances, st.none() | st.floats(0, 86_400))
def test_every_delay_is_between_floor_and_ceiling(
    reason: Reason, tries: int, chance: float, least: float | None
) -> None:
    """A delay is at least what the server asks for, at most 30 minutes more, and grows."""
    failure = Failure(reason, least)
    delay = delay_s(failure, tries=tries, random=chance)
    named = max(least or 0.0, 300.0 if reason in RARELY else 0.0)
    assert delay >= named + (0.3 if failure.may_end_soon else 6.0)
    assert delay <= named + (300.0 if failure.may_end_soon else 1800.0)
    assert delay_s(failure, tries=tries + 1, random=chance) >= delay


@pytest.mark.parametrize(
    ("failure", "tries", "least", "most"),
    [
        (Failure(Reason.CONNECTION_LOST), 0, 0.3, 3),
        (Failure(Reason.CONNECTION_LOST), 3, 2.4, 24),
        (Failure(Reason.DISABLED), 0, 6, 60),
        (Failure(Reason.SHUTTING_DOWN, 30.0), 1, 30.6, 36),  # jitter is added to 30 s
        (Failure(Reason.SUPERSEDED), 0, 306, 360),  # slow: two programs share one key
        (Failure(Reason.SUPERSEDED, 600.0), 0, 606, 660),
        (Failure(Reason.PROXY_LOGIN), 0, 306, 360),  # slow: a proxy may lock accounts
        (Failure(Reason.CERTIFICATE), 99, 180, 1800),
    ],
)
def test_a_thousand_clients_come_back_spread_out(
    failure: Failure, tries: int, least: float, most: float
) -> None:
    """The delays of 1,000 clients are spread: each tenth of their range has 50 to 150 clients."""
    source = random.Random(1)
    tenths = [0] * 10
    for _ in range(1000):
        delay = delay_s(failure, tries=tries, random=source.random())
        assert least <= delay <= most
        tenths[min(9, int((delay - least) / (most - least) * 10))] += 1
    assert max(tenths) <= 150
    assert min(tenths) >= 50


@pytest.mark.parametrize("chance", [0.0, 0.99])
def test_prompt_and_vault_tries_are_jittered_too(chance: float) -> None:
    """A prompt try comes after 0.1 to 1.1 s, a try of the vault after 30 to 90 s."""
    for reason in Reason:
        since_s = 400.0 if reason in RARELY else 0.0
        prompt = prompt_s(Failure(reason), since_s=since_s, random=chance)
        assert prompt == pytest.approx(0.1 + chance)
    assert prompt_s(Failure(Reason.PROXY_LOGIN), since_s=100, random=chance) == 200
    assert vault_s(random=chance) == pytest.approx(30 + 60 * chance)
