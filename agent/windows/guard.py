"""The guard: a small program that starts the client again when it has died.

The guard reads a pipe (see installer/guard/guard.c). The running client holds the writing end of
the pipe, and writes a goodbye to it before it ends in order.
"""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("for Windows")

import ctypes
import logging
import msvcrt
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from agent.ports import ChannelBusy
from agent.program import guard_file, is_updated, program_dir

log = logging.getLogger(__name__)

HANDLE = "_COCONOWORK_GUARD"  # the variable in which a guard gives the client its pipe
IN_ORDER, DEFECT, UPDATE = b"q", b"d", b"u"
RESTART_NO_CRASH, RESTART_NO_HANG, RESTART_NO_REBOOT = 1, 2, 8


@contextmanager
def guarded(*, start: bool) -> Iterator[None]:
    """Have the client started again when it dies in the block, or the block raises.

    `start` is false when the client is not to be guarded. Another client that runs already
    (ChannelBusy) is no reason to start this one again.
    """
    pipe = _take_over() or (_start() if start else None)
    if start:
        # For installers of other programs: Restart Manager restarts the programs that it has ended.
        ctypes.windll.kernel32.RegisterApplicationRestart(
            "run --autostart", RESTART_NO_CRASH | RESTART_NO_HANG | RESTART_NO_REBOOT
        )
    goodbye = DEFECT
    try:
        yield
        goodbye = UPDATE if start and is_updated() else IN_ORDER
    except ChannelBusy:
        goodbye = IN_ORDER
        raise
    finally:
        if pipe is not None:
            with suppress(OSError):  # the guard was killed
                os.write(pipe, goodbye)
            os.close(pipe)


def _take_over() -> int | None:
    """Return the pipe of the guard that has started this client, None when no guard has."""
    if (handle := os.environ.pop(HANDLE, None)) is None:
        return None
    os.set_handle_inheritable(int(handle), False)
    return msvcrt.open_osfhandle(int(handle), 0)


def _start() -> int | None:
    """Start a guard and return its pipe, None when there is no guard."""
    reading, writing = os.pipe()
    nothing = subprocess.DEVNULL
    try:
        subprocess.Popen(  # noqa: S603 - our own program
            [guard_file()], stdin=reading, stdout=nothing, stderr=nothing, cwd=program_dir()
        )
    except OSError as exc:  # a checkout, or a policy against it
        log.warning("this client has no guard: %s", exc.strerror)
        os.close(writing)
        return None
    finally:
        os.close(reading)
    return writing
