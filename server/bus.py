"""Wakes gateways when something about a user has changed, after it was committed.

A wake-up carries the user's id and nothing else: who hears it reads the database and works out
what to tell the clients. So a lost, doubled or late wake-up does no harm, and no secret travels.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Protocol

Listener = Callable[[int], None]
"""Called with the user's id, on any thread; must return at once and not raise."""


class Bus(Protocol):
    """How a console reaches the gateways."""

    def publish(self, user_id: int) -> None:
        """Wake the gateways for this user. Call it once the change is committed."""

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` at every wake-up from now on; the answer ends that."""


class InProcessBus:
    """The bus of an installation whose console and gateway share one process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._listeners: list[Listener] = []

    def publish(self, user_id: int) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener(user_id)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        with self._lock:
            self._listeners.append(listener)

        def unsubscribe() -> None:
            with self._lock:
                self._listeners.remove(listener)

        return unsubscribe


bus: Bus = InProcessBus()
"""This process's bus."""
