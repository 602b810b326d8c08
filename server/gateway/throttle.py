"""Slows down guessing: counts refused proofs and answers `throttled` above a limit.

Counted in this process, over a moving window, by real time. A right proof made with an expired
password, or by a disabled user, is no guess and is not counted.
"""

from __future__ import annotations

import ipaddress
import math
import time

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

PER_USER_AND_ADDRESS = RateLimitItemPerMinute(10, 5, namespace="user-address")
"""10 refusals in 5 minutes: a client sends a refused password once, a person mistypes twice."""
PER_ADDRESS = RateLimitItemPerMinute(200, 5, namespace="address")
"""An office of some hundred PCs may share one address."""
PER_USER = RateLimitItemPerMinute(50, 10, namespace="user")
"""From all addresses. Devices that the user has logged in from are let through, so that a
stranger's guessing does not shut out the user's own PCs."""
IPV6_SITE_BITS = 64
"""One customer has a whole /64 to choose addresses from."""


class Throttle:
    """Ask `wait_s` before a proof is looked at, then report what became of it."""

    def __init__(self) -> None:
        self._storage = MemoryStorage()
        self._limiter = MovingWindowRateLimiter(self._storage)

    def wait_s(self, *, user: str, address: str, known_device: bool = False) -> int:
        """Seconds until another try is looked at; 0 is now."""
        if not self._storage.events:
            return 0
        return max(
            self._wait(item, keys)
            for item, keys in self._counters(user, address)
            if not (known_device and item is PER_USER)
        )

    def refused(self, *, user: str, address: str) -> None:
        """Count a wrong user name or password."""
        for item, keys in self._counters(user, address):
            self._limiter.hit(item, *keys)

    def accepted(self, *, user: str, address: str) -> None:
        """Forget the refusals of this user from this address."""
        if self._storage.events:
            self._limiter.clear(PER_USER_AND_ADDRESS, user, _site(address))

    def sweep(self) -> None:
        """Drop what has run out: the storage keeps an empty list for every key it ever saw."""
        for key in [key for key, entries in list(self._storage.events.items()) if not entries]:
            self._storage.clear(key)

    def _wait(self, item: RateLimitItem, keys: tuple[str, ...]) -> int:
        # Nearly everybody was never refused: that is seen at once, and the rest takes its time.
        if item.key_for(*keys) not in self._storage.events or self._limiter.test(item, *keys):
            return 0
        reset_time = self._limiter.get_window_stats(item, *keys).reset_time
        return max(1, math.ceil(reset_time - time.time()))

    def _counters(self, user: str, address: str) -> list[tuple[RateLimitItem, tuple[str, ...]]]:
        site = _site(address)
        return [
            (PER_USER_AND_ADDRESS, (user, site)),
            (PER_ADDRESS, (site,)),
            (PER_USER, (user,)),
        ]


def _site(address: str) -> str:
    if ":" not in address:
        return address
    parsed = ipaddress.ip_address(address)
    return str(ipaddress.ip_network((parsed, IPV6_SITE_BITS), strict=False))
