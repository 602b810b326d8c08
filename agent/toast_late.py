"""A toaster that is made when there is something to say; most days there is nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable

from agent.ports import Toaster


class LateToaster:
    """`agent.ports.Toaster`, by the one that `make` returns at the first `show`."""

    def __init__(self, make: Callable[[], Toaster]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: Toaster | None = None

    def show(
        self,
        title: str,
        text: str,
        *,
        on_done: Callable[[Exception | None], None],
        on_click: Callable[[], None],
    ) -> None:
        with self._lock:
            if self._made is None:
                self._made = self._make()
        self._made.show(title, text, on_done=on_done, on_click=on_click)

    def withdraw(self) -> None:
        if self._made is not None:
            self._made.withdraw()

    def close(self) -> None:
        if self._made is not None:
            self._made.close()
