"""Write a file so that either the old or the new file is always there, for this user only."""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

BUSY_S = 1.0  # seconds that a scanner or a backup may hold a file, or group policy may change a key
_BUSY = {5, 32, 33, 259, 1018}
"""Windows' errors of busy files: access denied, sharing violation, lock violation; of the registry:
no more values, key marked for deletion."""


def insist(work: Callable[[], T]) -> T:
    """Return what `work` returns; on Windows retry while another program uses the same file."""
    end = time.monotonic() + BUSY_S
    while True:
        try:
            return work()
        except OSError as exc:
            number = getattr(exc, "winerror", None)
            # `open` goes through the C library, which has one error for the first three.
            busy = number in _BUSY or (number is None and exc.errno == errno.EACCES)
            if sys.platform != "win32" or not busy or time.monotonic() >= end:
                raise
        time.sleep(0.02)


def read_file(path: Path, max_bytes: int) -> bytes:
    """Return the content, at most `max_bytes` + 1 bytes. Raise OSError, also for a pipe."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "not a regular file")
    with path.open("rb") as file:
        return file.read(max_bytes + 1)


def replace_file(path: Path, data: bytes) -> None:
    """Write `data` to `path`; durable on return. Raise OSError; then the old file is unchanged.

    Only one writer of a path may run at a time: it deletes what a killed writer has left.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    prefix, suffix = f".{path.name}.", ".new"
    for leftover in path.parent.iterdir():
        if leftover.name.startswith(prefix) and leftover.name.endswith(suffix):
            insist(leftover.unlink)
    # Not tempfile.mkstemp: it takes a refusal on Windows for a name that is in use, and tries
    # 2,147,483,647 times in a folder that refuses new files.
    new = path.with_name(f"{prefix}{os.urandom(8).hex()}{suffix}")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    handle = os.open(new, flags, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        insist(lambda: new.replace(path))
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise
    if sys.platform != "win32":
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
