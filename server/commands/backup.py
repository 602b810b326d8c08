"""`backup`: copy the SQLite database as it is at one moment, while the server runs.

PostgreSQL has its own programs for backups. `restore.py` does the reverse; see docs/backup.md.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from server import config
from server.config import StartError

LOCK_SECONDS = 20
"""Longest wait for another process that has locked the database."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the argument; the settings name the database."""
    parser.add_argument("file", type=Path, help="where to put the copy; must not exist yet")


def run(arguments: argparse.Namespace) -> None:
    """Copy the database to a new file. Raise StartError.

    The database may change during the copy. The file appears only when it is complete on disk.
    """
    target: Path = arguments.file
    database = sqlite_path()
    if target.exists():
        raise StartError(f"{target}: this file exists already")
    with draft_beside(target) as draft:
        copy(database, draft)
        target.touch(exist_ok=False)  # another backup may have made it
        draft.replace(target)
        flush_folder(target.parent)
    print(f"{target}: {target.stat().st_size} bytes")


def sqlite_path() -> Path:
    """Return the SQLite file. Raise StartError when the database is PostgreSQL."""
    settings = config.load()
    if settings.is_postgresql:
        raise StartError("for PostgreSQL, use pg_dump and pg_restore (docs/backup.md)")
    return settings.database_path


def copy(source: Path, target: Path) -> None:
    """Copy a database in one read transaction, which blocks no writer, and check the copy.

    Only the owner may read `target`. Raise StartError.
    """
    target.touch(0o600)
    try:
        with closing(open_reading(source)) as old, closing(sqlite3.connect(target)) as new:
            old.backup(new)
            new.execute("PRAGMA journal_mode=DELETE")  # so that the copy is this one file
            [answer] = new.execute("PRAGMA quick_check(1)").fetchone()
            if answer != "ok":
                raise StartError(f"{source}: the database is damaged: {answer}")
            new.execute("SELECT 1 FROM console_user LIMIT 1")
    except sqlite3.Error as exc:
        raise StartError(f"{source}: no database of this server, or damaged: {exc}") from None
    with target.open("rb+") as file:
        os.fsync(file.fileno())


def open_reading(path: Path) -> sqlite3.Connection:
    """Return a read-only connection. Raise StartError when the file does not exist."""
    if not path.is_file():
        raise StartError(f"{path}: there is no such file")
    address = f"{path.absolute().as_uri()}?mode=rw"  # WAL mode needs write access
    connection = sqlite3.connect(address, uri=True, timeout=LOCK_SECONDS)
    connection.execute("PRAGMA query_only=ON")
    return connection


@contextmanager
def draft_beside(path: Path) -> Iterator[Path]:
    """Yield a path for a draft in a temporary folder beside `path`; remove the folder at the end.

    Raise StartError for an OSError inside the block.
    """
    try:
        with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            yield Path(folder) / path.name
    except OSError as exc:
        raise StartError(f"{exc.filename or path}: {exc.strerror}") from None


def flush_folder(folder: Path) -> None:
    """Flush a folder, and so the names of its files, to the disk."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
