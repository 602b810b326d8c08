"""The log: private, in UTC, one line a record, without secrets that libraries would log."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from agent import logs
from tests.support.disks import needs_root, small_disk

log = logging.getLogger("agent.test")


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    """Yield the log file, and restore logging afterwards."""
    level = logging.getLogger().level
    yield tmp_path / "log" / "client.log"
    logs.tear_down()
    logging.getLogger().setLevel(level)
    for name in logs.TALKATIVE:
        logging.getLogger(name).setLevel(logging.NOTSET)


def test_a_line(log_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line has UTC with ms, level, logger, text; the file is 0600 in a directory 0700."""
    logs.set_up(log_file, "info")
    log.info("hello %s", "日本")
    log.debug("not at this level")
    (line,) = log_file.read_text(encoding="utf-8").splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO agent\.test hello 日本", line)
    logs.tear_down()
    assert capsys.readouterr().err == line + "\n"
    assert log_file.stat().st_mode & 0o777 == 0o600
    assert log_file.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes in folders are Unix's")
@pytest.mark.parametrize("place", ["a pipe", "below a file"])
def test_without_a_file(log_file: Path, capsys: pytest.CaptureFixture[str], place: str) -> None:
    """Without a log file, lines and the reason go to standard error, without blocking."""
    if place == "a pipe":
        log_file.parent.mkdir()
        os.mkfifo(log_file)
    else:
        log_file.parent.touch()
    logs.set_up(log_file)
    log.info("hello")
    logs.tear_down()
    said = capsys.readouterr().err
    assert "INFO agent.test hello" in said
    assert f"no log file at {log_file}" in said


def test_nobody_can_forge_a_line(log_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text from outside cannot start a new record or move the cursor."""
    monkeypatch.setattr("sys.stderr", None)  # as in a program without a console
    logs.set_up(log_file)
    log.warning("said: %s", "x\n2026-01-01T00:00:00.000Z INFO agent all is well\x1b[2J")
    try:
        int("y\n2026-01-01T00:00:00.000Z INFO agent all is well")
    except ValueError:
        log.exception("oh")
    lines = log_file.read_text().splitlines()
    assert len([line for line in lines if not line.startswith("    ")]) == 2
    assert "\x1b" not in "".join(lines)
    assert any(line.startswith('      File "') for line in lines)


@pytest.mark.parametrize("is_open_elsewhere", [False, True])
def test_rotates(
    log_file: Path, monkeypatch: pytest.MonkeyPatch, *, is_open_elsewhere: bool
) -> None:
    """At most six private files; a file that Windows cannot rename is copied."""

    def refuse(*_: object) -> None:
        raise PermissionError(13, "in use")

    monkeypatch.setattr(logs, "MAX_BYTES", 2000)
    if is_open_elsewhere:
        monkeypatch.setattr(os, "replace", refuse)
    logs.set_up(log_file, to_stderr=False)
    for number in range(400):
        log.info("line %d %s", number, "x" * 50)
    files = sorted(log_file.parent.iterdir())
    assert len(files) == 6
    assert all(file.stat().st_size <= 2000 for file in files)
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    text = "".join(file.read_text() for file in files)
    assert all(f"line {number} " in text for number in range(320, 400))


async def test_no_frame_is_ever_logged(log_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No setting makes websockets log frames, which it does at debug level."""
    logs.set_up(log_file, "debug")

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(echo, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}", proxy=None) as client:
            await client.send("hidden-word")
            assert await asyncio.wait_for(client.recv(), 10) == "hidden-word"
    log.debug("end")
    logs.tear_down()
    written = log_file.read_text() + capsys.readouterr().err  # noqa: ASYNC240 - a test can wait
    assert written.count("agent.test end") == 2
    assert "hidden-word" not in written


def test_a_record_that_cannot_be_formatted(
    log_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A record that cannot be formatted is dropped, and the code that logs gets no error."""
    logs.set_up(log_file)
    ours = [each for each in logging.getLogger().handlers if type(each.formatter) is logs.Formatter]
    for said in ("three", 3):
        record = log.makeRecord("agent", logging.WARNING, "", 0, "%d days", (said,), None)
        for handler in ours:
            handler.handle(record)
    logs.tear_down()
    for text in (log_file.read_text(), capsys.readouterr().err):
        assert text.count(" days") == 1


@needs_root
def test_a_full_disk_ends_nothing(log_file: Path) -> None:
    """On a full disk records are lost; the program runs on, and logs again once there is room."""
    with small_disk(log_file.parent, "64k") as disk:
        logs.set_up(log_file, to_stderr=False)
        log.info("before")
        with pytest.raises(OSError, match="No space"):
            (disk / "ballast").write_bytes(b"x" * 100_000)
        for _ in range(200):
            log.info("lost %s", "x" * 100)
        (disk / "ballast").unlink()
        log.info("after")
        text = log_file.read_text()
        assert "before" in text
        assert "after" in text
        logs.tear_down()


def test_uncaught_exceptions_are_logged(tmp_path: Path) -> None:
    """Uncaught exceptions of all threads are logged: a windowed program has no other trace."""
    code = """
import sys, threading
from pathlib import Path
from agent import logs
logs.set_up(Path(sys.argv[1]), to_stderr=False)
def fail(): raise ValueError(threading.current_thread().name)
thread = threading.Thread(target=fail, name="other")
thread.start()
thread.join()
fail()
"""
    file = tmp_path / "log" / "client.log"
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 1
    said = file.read_text()
    assert "CRITICAL agent.logs uncaught in thread other" in said
    assert "ValueError: other" in said
    assert "ValueError: MainThread" in said


def test_tear_down_restores_the_hooks(log_file: Path) -> None:
    """One teardown after two set-ups restores the hooks."""
    before = (sys.excepthook, threading.excepthook)
    logs.set_up(log_file, to_stderr=False)
    logs.set_up(log_file, to_stderr=False)
    logs.tear_down()
    assert (sys.excepthook, threading.excepthook) == before
