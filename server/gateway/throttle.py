"""Slow down guessing: count refused proofs, and answer `throttled` above a limit.

Counts are of this process, by real time, over a moving window. A right proof with an expired
password, or of a disabled user, is no guess and is not counted.

A device that its user has logged in from before has a count of its own and no other. So a stranger
who guesses from the same office, or at the same user name, does not shut out the user's PCs.
"""

from __future__ import annotations

import math
import time
from collections import deque

from server.addresses import counted_address
from server.gateway.limits import Limits

MAX_KEYS = 50_000
"""Keys of one counter. Beyond that the one whose last refusal is the longest ago is forgotten."""


class Window:
    """Count events by key, at most `amount` in `seconds`."""

    def __init__(self, amount: int, seconds: int, *, max_keys: int = MAX_KEYS) -> None:
        self.amount = amount
        self.seconds = seconds
        self._max_keys = max_keys
        self._times: dict[str, deque[float]] = {}
        """The latest events of each key; the key with the latest event comes last."""

    def __len__(self) -> int:
        return len(self._times)

    def wait_s(self, key: str) -> int:
        """Return the seconds until another event is within the limit; 0 is now."""
        times = self._times.get(key)
        if times is None or len(times) < self.amount:
            return 0
        return max(0, math.ceil(times[0] + self.seconds - time.monotonic()))

    def add(self, key: str) -> None:
        """Count an event."""
        times = self._times.pop(key, None) or deque(maxlen=self.amount)
        times.append(time.monotonic())
        self._times[key] = times
        if len(self._times) > self._max_keys:
            del self._times[next(iter(self._times))]

    def clear(self, key: str) -> None:
        """Forget the events of a key."""
        self._times.pop(key, None)

    def sweep(self) -> None:
        """Forget keys whose events are all past."""
        before = time.monotonic() - self.seconds
        while self._times:
            key = next(iter(self._times))
            if self._times[key][-1] > before:
                break
            del self._times[key]


class Throttle:
    """Ask `wait_s` before a proof is checked, then report the outcome.

    `user` is None for a name that no user can have; such a name is not kept.
    """

    def __init__(self, limits: Limits) -> None:
        self._by_device = Window(limits.refused_per_device, 300)
        self._by_user_and_address = Window(limits.refused_per_device, 300)
        self._by_address = Window(limits.refused_per_address, 300)
        self._by_user = Window(limits.refused_per_user, 600)

    def wait_s(self, *, user: str | None, address: str, known_device: str | None = None) -> int:
        """Return the seconds until another try is checked; 0 is now.

        `known_device` is the id of a device that the user has logged in from before.
        """
        windows = self._windows(user, address, known_device)
        return max(window.wait_s(key) for window, key in windows)

    def on_refused(
        self, *, user: str | None, address: str, known_device: str | None = None
    ) -> None:
        """Count a wrong user name or password."""
        for window, key in self._windows(user, address, known_device):
            window.add(key)

    def on_accepted(self, *, user: str, address: str, known_device: str | None = None) -> None:
        """Forget the refusals of this device, or of this user from this address."""
        window, key = self._windows(user, address, known_device)[0]
        window.clear(key)

    def sweep(self) -> None:
        """Forget what is past."""
        for each in (
            self._by_device,
            self._by_user_and_address,
            self._by_address,
            self._by_user,
        ):
            each.sweep()

    def _windows(
        self, user: str | None, address: str, known_device: str | None
    ) -> list[tuple[Window, str]]:
        """Return the counters that count such a try, with their keys; the narrowest first."""
        if known_device is not None and user is not None:
            return [(self._by_device, f"{known_device} {user}")]
        counted = counted_address(address)
        if user is None:
            return [(self._by_address, counted)]
        return [
            (self._by_user_and_address, f"{counted} {user}"),
            (self._by_address, counted),
            (self._by_user, user),
        ]
