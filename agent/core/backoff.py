"""Delays before the next try: exponential back-off, with jitter on every delay."""

from __future__ import annotations

from agent.core.failure import Failure, Reason

_SOON, _LATER = (3.0, 300.0), (60.0, 1800.0)
"""The first span of delays and the longest one, in seconds. `_LATER` is for failures that a person
has to repair."""
_RARELY = {Reason.SUPERSEDED, Reason.PROXY_LOGIN}
"""Retried slowly: two PCs with one key would fight, and a proxy can lock a Windows account."""
_RARELY_S = 300.0
_FLOOR = 0.1  # a delay is at least this part of its span, so that no client comes back at once


def delay_s(failure: Failure, *, tries: int, random: float) -> float:
    """Return the seconds until the next try, after `tries` failures in a row before this one.

    `random` is from [0, 1). Clients that fail together come back spread over the whole span.
    A minimum wait that the server has named is added.
    """
    first, longest = _SOON if failure.may_end_soon else _LATER
    span = min(longest, first * 2.0 ** min(tries, 20))
    least = failure.retry_after_s or 0.0
    if failure.reason in _RARELY:
        least = max(least, _RARELY_S)
    return least + span * (_FLOOR + (1 - _FLOOR) * random)


def prompt_s(failure: Failure, *, since_s: float, random: float) -> float:
    """Return the seconds until a try after a network change, `since_s` seconds after a failure."""
    least = _RARELY_S - since_s if failure.reason in _RARELY else 0.0
    return max(least, 0.1 + random)


def vault_s(*, random: float) -> float:
    """Return the seconds until the vault is asked again after a failure."""
    return 30.0 + 60.0 * random
