"""A copy of the last good settings file, which replaces the file when it is broken.

So a PC whose user is away goes on waiting.
"""

from __future__ import annotations

import logging
import tomllib
from pathlib import Path

from agent.files import read_file, replace_file
from agent.paths import Paths

log = logging.getLogger(__name__)

MAX_BYTES = 1_000_000
"""Many times more than settings need; a damaged file can have any size."""


def copy_of(paths: Paths) -> Path:
    """Return the path of the copy, beside the file."""
    return paths.config_file.with_name(f"{paths.config_file.name}.last")


def keep_copy(paths: Paths) -> None:
    """Copy the file. Called after it was read or written without error. Never raises."""
    try:
        good, copy = read_file(paths.config_file, MAX_BYTES), copy_of(paths)
        if good and (not copy.exists() or read_file(copy, MAX_BYTES) != good):
            replace_file(copy, good)
    except FileNotFoundError:
        pass  # nothing is set
    except OSError as exc:
        log.warning("no copy of the settings was made: %s", exc.strerror)


def set_aside(paths: Paths) -> tuple[Path, bool]:
    """Rename the broken file; return its new path, and whether the copy has replaced it.

    A file that is too large is cut off. Raise OSError, and then the broken file is where it was.
    """
    file, good = paths.config_file.resolve(), _good_copy(paths)
    aside = file.with_name(f"{file.name}.broken")
    replace_file(aside, read_file(file, MAX_BYTES))
    if good is None:
        file.unlink()
    else:
        replace_file(file, good)
    return aside, good is not None


def _good_copy(paths: Paths) -> bytes | None:
    """Return the copy's content, None when it is missing or broken itself."""
    try:
        data = read_file(copy_of(paths), MAX_BYTES)
        tomllib.loads(data.decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None
    return data if 0 < len(data) <= MAX_BYTES else None
