"""Slow down guessing: count refused proofs, and answer `throttled` above a limit.

Counts are of this process, by real time, over a moving window. A correct proof with an
expired password, or of a disabled user, is no guess and is not counted.

A device from which the user has logged in before has only a count of its own. So a stranger who
guesses from the same office, or at the same user name, does not lock out the user's PCs.
"""

from __future__ import annotations

import math
import time
from collections import deque

from server.addresses import counted_address
from server.config import Config

MAX_KEYS = 50_000
"""Most keys of one counter. When there are more, the key with the oldest last event goes."""


class Window:
    """Count events by key, at most `amount` in `seconds`."""

    def __init__(self, amount: int, seconds: int) -> None:
        self.amount, self.seconds = amount, seconds
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
        times = self._times.pop(key, None) or deque(maxlen=self.amount)
        times.append(time.monotonic())
        self._times[key] = times
        if len(self._times) > MAX_KEYS:
            del self._times[next(iter(self._times))]

    def clear(self, key: str) -> None:
        self._times.pop(key, None)

    def clear_user(self, user: str) -> None:
        """Forget a user's events. Their keys are an origin, a blank, and the user name."""
        for key in [key for key in self._times if key.partition(" ")[2] == user]:
            del self._times[key]

    def sweep(self) -> None:
        """Forget keys whose events are all older than the window."""
        before = time.monotonic() - self.seconds
        while self._times and next(iter(self._times.values()))[-1] <= before:
            del self._times[next(iter(self._times))]


class Guesses:
    """The counts that apply to one login, the narrowest first."""

    def __init__(self, *counts: tuple[Window, str]) -> None:
        self._counts = counts

    def wait_s(self) -> int:
        """Return the seconds until another proof is checked; 0 is now."""
        return max(window.wait_s(key) for window, key in self._counts)

    def on_refused(self) -> None:
        """Count a wrong user name or password."""
        for window, key in self._counts:
            window.add(key)

    def on_accepted(self) -> None:
        """Forget the refusals of this device, or of this user from this address."""
        window, key = self._counts[0]
        window.clear(key)


class Throttle:
    """The counts of all logins."""

    def __init__(self, settings: Config) -> None:
        self._by_device = Window(settings.refusals_per_device, 300)
        self._by_user_and_address = Window(settings.refusals_per_device, 300)
        self._by_address = Window(settings.refusals_per_address, 300)
        self._by_user = Window(settings.refusals_per_user, 600)
        self._all = (self._by_device, self._by_user_and_address, self._by_address, self._by_user)

    def guesses(
        self, user: str | None, address: str, *, known_device: str | None = None
    ) -> Guesses:
        """Return the counts for a login. Ask `wait_s` before the proof is checked.

        `user` is None for a name that no user can have; such a name is not counted. `known_device`
        is the id of a device from which the user has logged in before.
        """
        if known_device is not None:
            return Guesses((self._by_device, f"{known_device} {user}"))
        counted = counted_address(address)
        by_address = (self._by_address, counted)
        if user is None:
            return Guesses(by_address)
        by_both = (self._by_user_and_address, f"{counted} {user}")
        return Guesses(by_both, by_address, (self._by_user, f"any {user}"))

    def forget(self, user: str) -> None:
        """Forget the refusals of a user, on all devices and from all addresses."""
        for window in self._all:
            window.clear_user(user)

    def sweep(self) -> None:
        for window in self._all:
            window.sweep()
