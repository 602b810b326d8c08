"""Run the real client, wrapped so that it kills itself (SIGKILL) at one chosen moment.

`python -m tests.support.killable NUMBER` counts moments from the start: before each message to the
server, and before and after each write to the keyring. At moment NUMBER the process is gone, as in
a power cut. Further arguments are ignored. The product has no such hook.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from typing import Any
from unittest import mock

from agent.__main__ import main
from agent.core.effects import Effect, Send
from agent.runtime import Runtime
from agent.vault import KeyringVault


def kill_at(fatal: int) -> None:
    """Wrap the functions that send messages and write to the keyring."""
    perform, write = Runtime._perform, KeyringVault.write
    moments = itertools.count()

    def pass_one(name: str) -> None:
        if next(moments) == fatal:
            print(f"killed {name}", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    def perform_counted(self: Runtime, effect: Effect) -> None:
        if isinstance(effect, Send):
            pass_one(f"before {type(effect.message).__name__}")
        perform(self, effect)

    def write_counted(self: KeyringVault, *arguments: Any) -> None:
        pass_one("before the keyring's write")
        write(self, *arguments)
        pass_one("after the keyring's write")

    mock.patch.object(Runtime, "_perform", perform_counted).start()
    mock.patch.object(KeyringVault, "write", write_counted).start()


if __name__ == "__main__":
    kill_at(int(sys.argv[1]))
    sys.exit(main(["run", "--autostart"]))
