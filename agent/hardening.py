"""Keeps this process's memory out of crash dumps, and foreign libraries out of the process."""

from __future__ import annotations

import logging
import sys

log = logging.getLogger(__name__)

_WER_FAULT_REPORTING_FLAG_NOHEAP = 1
_LOAD_LIBRARY_SEARCH_DEFAULT_DIRS = 0x1000
_PR_SET_DUMPABLE = 4


def harden() -> None:
    """Harden this process, before it has a password. A failure is logged.

    Windows loads no library from the working directory or the PATH, and puts no heap into a crash
    report. Linux writes no core file, and lets no other process attach.
    """
    import ctypes

    try:
        if sys.platform == "win32":
            kernel32 = ctypes.windll.kernel32
            kernel32.WerSetFlags(_WER_FAULT_REPORTING_FLAG_NOHEAP)
            if not kernel32.SetDefaultDllDirectories(_LOAD_LIBRARY_SEARCH_DEFAULT_DIRS):
                log.warning("libraries may come from the working directory")
        else:
            import resource

            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if sys.platform == "linux" and ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
                log.warning("other processes may attach to this one")
    except (OSError, AttributeError, ValueError):
        log.warning("crash dumps could not be switched off")
