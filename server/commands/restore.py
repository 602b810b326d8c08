"""`restore`: replace the database of a stopped server by a copy that `backup` has made.

The old database is kept beside the new one. Every change since the copy is undone, and listed: PCs
may then have newer passwords than the server has (docs/backup.md).
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from server.commands.backup import copy, draft_beside, flush_folder, open_reading, sqlite_path
from server.config import StartError

_SIDE_FILES = ("-wal", "-shm", "-journal")
"""Suffixes of files that SQLite leaves beside a database that was not closed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the argument; the settings name the database."""
    parser.add_argument("file", type=Path, help="a copy that `backup` has made")


def run(arguments: argparse.Namespace) -> None:
    """Replace the database in one step, and list the changes that are undone. Raise StartError.

    Nothing is changed when the copy is incomplete or the database is in use.
    """
    backup, database = arguments.file, sqlite_path()
    print(f"database {database}", flush=True)
    try:
        database.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as exc:
        raise StartError(f"{exc.filename}: {exc.strerror}") from None
    with draft_beside(database) as draft:
        copy(backup, draft)
        _give_to_owner(draft, database if database.exists() else database.parent)
        kept = _keep(database) if database.exists() else None
        draft.rename(database)
        flush_folder(database.parent)
    print(f"{database}: restored from {backup}")
    if kept is not None:
        print(f"{kept}: the old database")
        try:
            undone = _events_since(backup, kept)
        except sqlite3.Error as exc:
            print(f"It cannot be read, so what was done since the backup is not known: {exc}")
        else:
            print(f"Done since the backup, and undone by this: {len(undone)}", *undone, sep="\n  ")


def _events_since(backup: Path, before: Path) -> list[str]:
    """Return the audit events of `before` that are missing in `backup`, a line each."""
    with closing(open_reading(backup)) as old, closing(open_reading(before)) as new:
        last = old.execute("SELECT coalesce(max(id), 0) FROM console_auditevent").fetchone()
        rows = new.execute(
            "SELECT at, action, actor_name, subject_name FROM console_auditevent"
            " WHERE id > ? ORDER BY id",
            last,
        ).fetchall()
    return [
        f"{at[:19]} UTC  {what}  {actor or '-'} -> {user or '-'}" for at, what, actor, user in rows
    ]


def _keep(database: Path) -> Path:
    """Copy the database that will be replaced, and return the copy. Raise StartError."""
    with closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as connection:
        try:
            # Merge the side files; this fails while another process has the database open.
            connection.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.DatabaseError as exc:
            if exc.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise StartError(f"{database}: in use; stop the server first") from None
    kept = database.with_name(f"{database.name}.{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
    for suffix in _SIDE_FILES:  # present only when the database could not be opened
        side = database.with_name(database.name + suffix)
        if side.exists():
            side.rename(kept.with_name(kept.name + suffix))
    shutil.copy2(database, kept)
    _give_to_owner(kept, database)
    return kept


def _give_to_owner(new: Path, old: Path) -> None:
    """Give the file `new` the owner of `old`: root may have made it, the server must read it."""
    if sys.platform != "win32":
        made, owner = new.stat(), old.stat()
        if (made.st_uid, made.st_gid) != (owner.st_uid, owner.st_gid):
            os.chown(new, owner.st_uid, owner.st_gid)
