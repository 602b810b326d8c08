"""`backup` and `restore`: copies while the server runs, and what a restore undoes."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from protocol import messages
from tests.support.gateway_client import Client, new_key
from tests.support.installation import ADMIN, ADMIN_PASSWORD, P1, P2, Installation


def rows(file: Path, statement: str) -> list[tuple[str]]:
    """Return the rows of `statement` from the SQLite database `file`."""
    with closing(sqlite3.connect(file)) as database:
        return database.execute(statement).fetchall()


def write_pairs(installation: Installation, stop: threading.Event, written: list[int]) -> None:
    """Commit pairs of rows until `stop`. Append the number of each pair to `written`."""
    insert = "INSERT INTO console_account (name, created_at) VALUES (?, '2026-01-01')"
    with closing(sqlite3.connect(installation.file, timeout=30)) as database:
        while not stop.is_set():
            with database:
                database.executemany(insert, [[f"{side}{len(written)}"] for side in ("l", "r")])
            written.append(len(written))


def test_copies_while_it_is_written_to(installation: Installation, tmp_path: Path) -> None:
    """Each copy is whole, private, of one moment, and has all that was committed before."""
    stop, written = threading.Event(), list[int]()
    writer = threading.Thread(target=write_pairs, args=(installation, stop, written))
    writer.start()
    try:
        for number in range(2):
            before, file = set(written), tmp_path / f"copy{number}"
            done = installation.run("backup", str(file))
            assert (done.returncode, done.stderr) == (0, "")
            names = [name for (name,) in rows(file, "SELECT name FROM console_account")]
            left, right = ({int(n[1:]) for n in names if n[0] == side} for side in ("l", "r"))
            assert left == right, "half a transaction"
            assert before <= left
            assert file.stat().st_mode & 0o077 == 0
    finally:
        stop.set()
        writer.join()
    assert sorted(path.name for path in tmp_path.glob("*copy*")) == ["copy0", "copy1"]


def test_refused(installation: Installation, tmp_path: Path) -> None:
    """An impossible backup or restore says why, and changes and leaves no file."""
    there, nowhere = tmp_path / "there", tmp_path / "none" / "x"
    there.write_text("something else, which is no database" * 100)
    content = bytearray(installation.file.read_bytes())
    content[8192:40960] = bytes(40960 - 8192)
    for command, path, said in (
        ("backup", there, "this file exists already"),
        ("backup", nowhere, "none"),
        ("restore", there, "no database of this server"),
        ("restore", nowhere, "none"),
        ("backup", tmp_path / "damaged", "damaged"),
    ):
        if path.name == "damaged":
            installation.file.write_bytes(content)
        before = installation.file.read_bytes()
        done = installation.run(command, str(path))
        named = f"database {installation.file}\n" if command == "restore" else ""
        assert (done.returncode, done.stdout) == (1, named), path
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert installation.file.read_bytes() == before
    assert there.read_text().startswith("something else")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "there"]
    found = {path.name for path in installation.directory.iterdir()}
    locks = {"coconowork.migration", "secret_key.lock"}
    assert found - locks == {"coconowork.sqlite3", "secret_key"}


async def test_restore_undoes(installation: Installation, tmp_path: Path) -> None:
    """After the restore of an older copy the server knows only the passwords of that time.

    PCs with a newer password are refused, with the reason; PCs without it log in; a user
    disabled since may log in again. The restore lists later changes, and keeps the database.
    While a server runs, the restore is refused.
    """
    pk, leaver = installation.add_user("tanaka"), installation.add_user("leaver")
    copy, key = tmp_path / "copy", new_key()
    with installation.serving(GATEWAY_NAME="office") as server:
        async with Client(server.gateway, key=key) as client:
            await client.log_in("tanaka", P1)
            assert installation.run("backup", str(copy)).returncode == 0
            with server.browser("tanaka", P1) as browser:
                browser.change_password(P1, P2)
            await client.takes("tanaka", P2)
        done = installation.run("restore", str(copy))
        assert (done.returncode, done.stdout) == (1, f"database {installation.file}\n")
        assert "stop the server" in done.stderr
        with server.browser(ADMIN, ADMIN_PASSWORD) as browser:
            browser.send(f"/users/{leaver}/disable/")
        assert server.stop() == 0
    before = installation.query("SELECT count(*) FROM console_auditevent")
    done = installation.run("restore", str(copy))
    assert (done.returncode, done.stderr) == (0, "")
    assert "password.changed  tanaka -> tanaka" in done.stdout
    assert "user.disabled  admin -> leaver" in done.stdout
    [kept] = installation.directory.glob("coconowork.sqlite3.*")
    assert str(kept) in done.stdout
    assert rows(kept, "SELECT count(*) FROM console_auditevent") == before
    with installation.serving(GATEWAY_NAME="office") as server:
        # The PC was waiting when the copy was made; now it is not.
        waiting = "SELECT count(*) FROM console_device WHERE waiting_since IS NOT NULL"
        assert installation.query(waiting) == [(0,)]
        async with Client(server.gateway, key=key) as took_it:
            refused = messages.Rejected(reason="credentials")
            assert await took_it.try_log_in("tanaka", P2) == refused
            # The user then types the password of that time in the tray.
            assert (await took_it.log_in("tanaka", P1)).password == "current"
        async with Client(server.gateway) as disabled_since:
            assert (await disabled_since.log_in("leaver", P1)).password == "current"
    of_user = "SELECT count(*) FROM console_device WHERE user_id = %s"
    assert installation.query(of_user, pk) == [(1,)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to other users")
def test_restore_over_a_wreck_and_into_an_empty_place(
    installation: Installation, tmp_path: Path
) -> None:
    """A database that cannot be read is kept. New files are private and belong to the service."""
    user, wreck, copy = 65534, b"not a database any more" * 500, tmp_path / "copy"
    assert installation.run("backup", str(copy)).returncode == 0
    elsewhere = Installation(tmp_path / "new" / "place")
    done = elsewhere.run("restore", str(copy))
    said = f"database {elsewhere.file}\n{elsewhere.file}: restored from {copy}\n"
    assert (done.returncode, done.stdout) == (0, said)
    assert elsewhere.file.stat().st_mode & 0o077 == 0

    installation.file.write_bytes(wreck)
    os.chown(installation.file, user, user)
    done = installation.run("restore", str(copy))
    assert (done.returncode, done.stderr) == (0, "")
    assert "cannot be read" in done.stdout
    [kept] = installation.directory.glob("coconowork.sqlite3.*")
    assert kept.read_bytes() == wreck
    assert installation.run("backup", f"{copy}-again").returncode == 0  # leaves no file of root
    for file in installation.directory.glob("coconowork.sqlite3*"):
        assert (file.stat().st_uid, file.stat().st_gid) == (user, user)
        assert file.stat().st_mode & 0o077 == 0
    for each in (installation, elsewhere):
        assert each.query("SELECT username FROM console_user") == [(ADMIN,)]


def test_secret_key_of_two_at_once(tmp_path: Path) -> None:
    """Processes that start at once share one secret key, also without hard links."""
    as_on_fat = [
        "strace",
        "-f",
        "-o",
        str(tmp_path / "trace"),
        "-e",
        "inject=link,linkat:error=EPERM",
    ]
    assert subprocess.run([*as_on_fat, "ln", __file__, tmp_path / "x"], check=False).returncode
    ask = [sys.executable, "-c", "from server.settings import SECRET_KEY; print(SECRET_KEY)"]
    folder = tmp_path / "data"
    environment = Installation(folder).environment()
    started = [
        subprocess.Popen([*as_on_fat, *ask], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    [key] = {each.communicate(timeout=60)[0].strip() for each in started}
    assert len(key) == 64
    assert (folder / "secret_key").read_text() == key
    assert (folder / "secret_key").stat().st_mode & 0o077 == 0
    assert {path.name for path in folder.iterdir()} == {"secret_key", "secret_key.lock"}
