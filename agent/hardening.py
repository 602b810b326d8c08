"""Keeps secrets out of what the operating system would write about this process."""

from __future__ import annotations

import logging
import sys

log = logging.getLogger(__name__)

_WER_FAULT_REPORTING_FLAG_NOHEAP = 1


def keep_out_of_dumps() -> None:
    """No core file and no heap in a crash report; other processes of the user may not attach.

    Windows: `WerSetFlags`. Linux: `RLIMIT_CORE` and `PR_SET_DUMPABLE`. A refusal is logged.
    """
    import ctypes

    try:
        if sys.platform == "win32":
            ctypes.windll.kernel32.WerSetFlags(_WER_FAULT_REPORTING_FLAG_NOHEAP)
        else:
            import resource

            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if sys.platform == "linux":
                pr_set_dumpable = 4
                ctypes.CDLL(None).prctl(pr_set_dumpable, 0, 0, 0, 0)
    except (OSError, AttributeError, ValueError):
        log.warning("crash dumps could not be switched off")
