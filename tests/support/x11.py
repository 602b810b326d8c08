"""Run an X display for tests (Xvfb), and send it mouse and key events."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.support.polling import eventually


@contextmanager
def screen(size: tuple[int, int] = (800, 600)) -> Iterator[str]:
    """Run an X display of this size. Yield its name."""
    read, write = os.pipe()
    options = ["-displayfd", str(write), "-noreset", "-screen", "0", f"{size[0]}x{size[1]}x24"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(
        ["Xvfb", *options], pass_fds=[write], stdin=quiet, stdout=quiet, stderr=quiet
    ) as server:
        os.close(write)
        try:
            with os.fdopen(read) as numbers:
                number = numbers.readline().strip()
            assert number, "Xvfb did not start"
            yield f":{number}"
        finally:
            server.terminate()


def xdotool(*arguments: str) -> str:
    """Send mouse and key events to $DISPLAY. Return what xdotool prints."""
    done = subprocess.run(["xdotool", *arguments], check=True, capture_output=True, text=True)
    return done.stdout


def ready(title: str) -> None:
    """Wait until the dialog with this title is visible and has the focus."""

    def has_the_keyboard() -> bool:
        with suppress(subprocess.CalledProcessError):  # while nothing has the focus
            return title in xdotool("getwindowfocus", "getwindowname")
        return False

    eventually(has_the_keyboard)


def press(*keys: str) -> None:
    """Press these keys, one after the other."""
    xdotool("key", "--delay", "30", *keys)
