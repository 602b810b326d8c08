"""A screen for tests (Xvfb), and a user's mouse and keys on it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator

WAIT_S = 6.0


def until(what: Callable[[], object]) -> None:
    """Wait for it, with a deadline."""
    end = time.monotonic() + WAIT_S
    while not what():
        assert time.monotonic() < end, "did not come"
        time.sleep(0.02)


@contextlib.contextmanager
def screen() -> Iterator[str]:
    """Yields the name of a display of our own."""
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-noreset", "-screen", "0", "800x600x24"],
        pass_fds=[write],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        with os.fdopen(read) as numbers:
            yield f":{numbers.readline().strip()}"
    finally:
        server.terminate()
        server.wait()


def xdotool(*arguments: str) -> str:
    """Mouse and keys, as a person's, on $DISPLAY."""
    return subprocess.run(
        ["xdotool", *arguments], check=True, capture_output=True, text=True
    ).stdout
