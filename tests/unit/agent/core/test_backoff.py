"""Delays: spread out, growing, never at once, and never sooner than the server asked."""

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
    """A delay is at least what the server asks for, at most half an hour more, and grows."""
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
        (Failure(Reason.SHUTTING_DOWN, 30.0), 1, 30.6, 36),  # the spread comes on top of it
        (Failure(Reason.SUPERSEDED), 0, 306, 360),  # two programs with one key must not fight
        (Failure(Reason.SUPERSEDED, 600.0), 0, 606, 660),
        (Failure(Reason.PROXY_LOGIN), 0, 306, 360),  # so the proxy does not lock the account
        (Failure(Reason.CERTIFICATE), 99, 180, 1800),
    ],
)
def test_a_thousand_clients_come_back_spread_out(
    failure: Failure, tries: int, least: float, most: float
) -> None:
    """After a server's restart no tenth of the span gets more than a fair share and a half."""
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
    """A resumed office does not arrive at once; the vault is left alone for half a minute."""
    for reason in Reason:
        since_s = 400.0 if reason in RARELY else 0.0
        prompt = prompt_s(Failure(reason), since_s=since_s, random=chance)
        assert prompt == pytest.approx(0.1 + chance)
    assert prompt_s(Failure(Reason.PROXY_LOGIN), since_s=100, random=chance) == 200
    assert vault_s(random=chance) == pytest.approx(30 + 60 * chance)
