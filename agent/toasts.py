"""Show toasts with the desktop's toaster, which is opened for the first toast."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from agent.core.view import Command
from agent.ports import OnOutcome, Toaster, Topic, call_adapter
from protocol.messages import WarningOutcome

log = logging.getLogger(__name__)


class Toasts:
    """The toasts of one client, from any thread. `on_command` gets the commands of clicks."""

    def __init__(
        self, open_toaster: Callable[[], Toaster] | None, on_command: Callable[[Command], None]
    ) -> None:
        self._open_toaster = open_toaster
        self._on_command = on_command
        self._toaster: Toaster | None = None
        self._lock = threading.Lock()

    def show(
        self,
        topic: Topic,
        texts: tuple[str, str],
        on_click: Command | Callable[[], None],
        on_outcome: OnOutcome = lambda _: None,
    ) -> None:
        """Show title and text. Call `on_outcome` for each outcome that becomes known."""

        def on_toast(outcome: WarningOutcome) -> None:
            if outcome is WarningOutcome.FAILED:
                log.warning("no toast: %s. %s", *texts)
            else:
                log.info("toast %s: %s", outcome.value, texts[0])
            if outcome is WarningOutcome.CLICKED:
                if isinstance(on_click, Command):
                    self._on_command(on_click)
                else:
                    call_adapter(on_click)
            on_outcome(outcome)

        try:
            with self._lock:
                if self._toaster is None and self._open_toaster is not None:
                    self._toaster = self._open_toaster()
            if self._toaster is not None:
                self._toaster.show(topic, *texts, on_toast)
                return
        except Exception:
            log.exception("there can be no toast")
        on_toast(WarningOutcome.FAILED)

    def withdraw(self, topic: Topic) -> None:
        """Remove the toasts about `topic`."""
        if self._toaster is not None:
            call_adapter(self._toaster.withdraw, topic)

    def close(self) -> None:
        if self._toaster is not None:
            call_adapter(self._toaster.close)
