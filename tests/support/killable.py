"""Run the real client, which kills itself (SIGKILL) at one chosen moment.

`python -m tests.support.killable NUMBER` counts moments from the first pushed password on: before
each effect that the machine asks for, and before and after each write to the keyring. At moment
NUMBER the process is gone, as in a power cut. The product has no such hook: this module wraps it.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from typing import Any
from unittest import mock

from agent.__main__ import main
from agent.core.events import Event, QuitRequested, Received
from agent.runtime import Runtime
from agent.vault import KeyringVault
from protocol.messages import PasswordChanged


def kill_at(fatal: int) -> None:
    """Wrap the places where the client acts."""
    handle, perform, write = Runtime._handle, Runtime._perform, KeyringVault.write
    moments, counting = itertools.count(), False

    def pass_one(name: str) -> None:
        if counting and next(moments) == fatal:
            print(f"killed at {name}", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    def handle_counted(self: Runtime, event: Event) -> None:
        nonlocal counting
        if isinstance(event, Received) and isinstance(event.message, PasswordChanged):
            counting = True
        elif isinstance(event, QuitRequested):
            counting = False
        handle(self, event)

    def perform_counted(self: Runtime, effect: Any) -> None:
        pass_one(f"before {type(effect).__name__}")
        perform(self, effect)

    def write_counted(self: KeyringVault, *arguments: Any) -> None:
        pass_one("before the keyring's write")
        write(self, *arguments)
        pass_one("after the keyring's write")

    mock.patch.object(Runtime, "_handle", handle_counted).start()
    mock.patch.object(Runtime, "_perform", perform_counted).start()
    mock.patch.object(KeyringVault, "write", write_counted).start()


if __name__ == "__main__":
    kill_at(int(sys.argv[1]))
    sys.exit(main(["run", "--autostart"]))
