"""Writes a file so that there is always either the old one or the new one, for this user only."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path


def replace_file(path: Path, data: bytes) -> None:
    """Durable on return. Raise OSError, and then the old file is as it was.

    One writer of a path at a time: what an earlier one, killed in the middle, has left is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    prefix, suffix = f".{path.name}.", ".new"
    for left in path.parent.iterdir():
        if left.name.startswith(prefix) and left.name.endswith(suffix):
            left.unlink()
    handle, name = tempfile.mkstemp(prefix=prefix, suffix=suffix, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
    if sys.platform != "win32":
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
