"""The program as a process: the command that starts it, its imports, its heap, its hardening."""

from __future__ import annotations

import importlib
import logging
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType

log = logging.getLogger(__name__)

_M_ARENA_MAX = -8
_WER_FAULT_REPORTING_FLAG_NOHEAP = 1
_LOAD_LIBRARY_SEARCH_DEFAULT_DIRS = 0x1000
_PR_SET_DUMPABLE = 4
_WORKSTATION, _WINDOWS_11 = 1, 22_000
"""VER_NT_WORKSTATION, and the first build of Windows 11, which says that it is version 10."""

CREATION_FLAGS: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)


def program() -> list[str]:
    """Return the command that starts this program without a console, without arguments."""
    if getattr(sys, "frozen", False):
        return [str(Path(sys.executable).with_suffix(".exe"))]
    return [sys.executable, "-m", "agent"]


def os_name() -> str:
    """Return the system's name and version, without `platform`, which runs `cmd /c ver`."""
    if sys.platform == "win32":
        version = sys.getwindowsversion()
        if version.product_type != _WORKSTATION:
            return f"Windows Server {version.major}.{version.minor}.{version.build}"
        return f"Windows {11 if version.build >= _WINDOWS_11 else version.major}"
    system = os.uname()
    return f"{system.sysname} {system.release}"


def spare_platform() -> None:
    """Keep `platform`, which libraries ask when they are imported, from running `cmd /c ver`."""
    if sys.platform == "win32":
        import platform

        platform._uname_cache = platform.uname_result("Windows", "", "", "", "")  # type: ignore[attr-defined] # noqa: SLF001 - as if asked


def spare_imports() -> None:
    """Delay the import of some modules until their first use. Call this before any library.

    websockets and keyring import them, with HTTP and the parser of e-mails, and never use them.
    """
    # keyring takes this module where the standard library's is too old, and only there it exists.
    backport = ["importlib_metadata"] if sys.version_info < (3, 12) else []
    for name in ["importlib.metadata", *backport, "urllib.request"]:
        if name not in sys.modules:
            place = sys.modules[name] = _at_first_use(name)
            package, _, child = name.rpartition(".")
            if package:
                setattr(importlib.import_module(package), child, place)


def _at_first_use(name: str) -> ModuleType:
    """Return a stand-in that imports the real module when an attribute of it is read."""
    place = ModuleType(name)

    def load(attribute: str) -> object:
        sys.modules.pop(name, None)
        return getattr(importlib.import_module(name), attribute)

    place.__getattr__ = load  # type: ignore[method-assign] # PEP 562
    return place


def program_dir() -> Path:
    """Return the folder to start the program in; its modules and libraries are found there."""
    if getattr(sys, "frozen", False):
        return Path(sys.executable).parent
    return Path(__file__).resolve().parents[1]


def guard_file() -> Path:
    """Return the guard's file, which an installer moves away during an update."""
    return program_dir() / "coconowork-guard.exe"


def is_updated() -> bool:
    """Return whether an installer has moved the guard's file away, and not a virus scanner."""
    file, folder = guard_file(), program_dir()
    moved = [folder / "old" / file.name, *folder.glob("guard-*.old")]
    return not file.exists() and any(map(Path.exists, moved))


def starts_tray_program() -> bool:
    """Start the tray's program and return True if this is the console program (.com)."""
    if Path(sys.executable).suffix.lower() != ".com":  # a prompt finds the .com first (PATHEXT)
        return False
    nothing = subprocess.DEVNULL  # so that a reader of this output need not wait for that program
    fresh = {**os.environ, "PYINSTALLER_RESET_ENVIRONMENT": "1"}
    subprocess.Popen(  # noqa: S603 - our own program
        [*program(), *sys.argv[1:]], stdin=nothing, stdout=nothing, stderr=nothing, env=fresh
    )
    return True


def share_one_heap() -> None:
    """Make all threads share one heap: glibc gives each thread its own. Call this first."""
    if sys.platform == "linux":
        import ctypes

        with suppress(AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


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
