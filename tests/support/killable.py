"""Run the real client, which kills itself (SIGKILL) at one chosen moment.

`python -m tests.support.killable NUMBER` counts moments from the first pushed password on:
before each effect that the machine asks for, and before and after each write to the keyring. At
moment NUMBER the process is gone, as in a power cut. The product has no such hook: it is put
around it here.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from agent.__main__ import main
from agent.core.events import Event, QuitRequested, Received
from agent.runtime import Runtime
from agent.vault import KeyringVault
from protocol.messages import PasswordChanged


class Moments:
    """Counts, and kills at the chosen one."""

    def __init__(self, fatal: int) -> None:
        self._fatal = fatal
        self._counting = False
        self._passed = 0

    def begin(self) -> None:
        self._counting = True

    def end(self) -> None:
        self._counting = False

    def pass_one(self, name: str) -> None:
        if self._counting:
            if self._passed == self._fatal:
                print(f"killed at {name}", flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
            self._passed += 1


def put_moments_around(moments: Moments) -> None:
    """Wrap the places where the client acts."""
    handle, perform, write = Runtime._handle, Runtime._perform, KeyringVault.write

    def handle_counted(self: Runtime, event: Event) -> None:
        if isinstance(event, Received) and isinstance(event.message, PasswordChanged):
            moments.begin()
        elif isinstance(event, QuitRequested):
            moments.end()
        handle(self, event)

    def perform_counted(self: Runtime, effect: Any) -> None:
        moments.pass_one(f"before {type(effect).__name__}")
        perform(self, effect)

    def write_counted(self: KeyringVault, *arguments: Any) -> None:
        moments.pass_one("before the keyring's write")
        write(self, *arguments)
        moments.pass_one("after the keyring's write")

    wrapped: list[tuple[type, str, Callable[..., None]]] = [
        (Runtime, "_handle", handle_counted),
        (Runtime, "_perform", perform_counted),
        (KeyringVault, "write", write_counted),
    ]
    for owner, name, function in wrapped:
        setattr(owner, name, function)


if __name__ == "__main__":
    put_moments_around(Moments(int(sys.argv[1])))
    sys.exit(main(["run", "--autostart"]))
