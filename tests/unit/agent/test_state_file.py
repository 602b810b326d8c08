"""The file of the saved state: written, replaced, and renamed when broken."""

from __future__ import annotations

import os
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from agent.core.credentials import Identity
from agent.core.saved_state import SavedState
from agent.state_file import MAX_BYTES, StateFile

TANAKA = Identity(server="wss://gw.example.com/gateway", user="tanaka")
SUZUKI = Identity(server="wss://gw.example.com/gateway", user="../suzuki")
FULL = SavedState(
    old_valid_until=datetime(2026, 12, 23, 4, 5, 6, 789000, tzinfo=UTC),
    clock_offset_s=-12.5,
    console_url="https://c.example.com",
    warned_session="boot/5",
    warned_on=date(2026, 11, 23),
    asked_session="boot/4",
)


def test_gives_back_what_was_saved(tmp_path: Path) -> None:
    """Each identity has its own private file; no character of its names becomes a path."""
    store = StateFile(tmp_path / "state")
    assert store.load(TANAKA) == SavedState()
    store.save(TANAKA, FULL)
    store.save(SUZUKI, SavedState(clock_offset_s=1))
    assert store.load(TANAKA) == FULL
    assert store.load(SUZUKI) == SavedState(clock_offset_s=1)
    if sys.platform != "win32":
        modes = [each.stat().st_mode & 0o777 for each in tmp_path.rglob("*")]
        assert modes == [0o700, 0o600, 0o600]
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the file of TANAKA."""
    StateFile(tmp_path).save(TANAKA, FULL)
    (path,) = tmp_path.iterdir()
    return path


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b'{"old_valid_until": "2026-12-23T04:05:06"}',  # without a zone
        b"[" * 100_000,
        b'{"warned_session": "' + b"x" * MAX_BYTES + b'"}',
    ],
    ids=["empty", "bytes", "no zone", "depth", "long"],
)
def test_a_broken_file_is_renamed(
    file: Path, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A broken file is logged and renamed, and the client runs on."""
    store = StateFile(file.parent)
    file.write_bytes(data)
    assert store.load(TANAKA) == SavedState()
    assert file.name in caplog.text
    assert file.with_suffix(".broken").read_bytes() == data
    store.save(TANAKA, FULL)
    assert store.load(TANAKA) == FULL


def test_a_later_versions_fields_are_passed_over(file: Path) -> None:
    """Unknown fields of a later version are ignored, so a downgrade keeps the deadline."""
    file.write_text(file.read_text().replace("{", '{"new_field": 1,', 1))
    assert StateFile(file.parent).load(TANAKA) == FULL


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes in folders are Unix's")
@pytest.mark.parametrize("make", ["mkfifo", "mkdir"])
def test_what_is_no_file(file: Path, make: str) -> None:
    """A pipe or folder in place of the file counts as no file; a write replaces only a pipe."""
    file.unlink()
    getattr(os, make)(file)
    store = StateFile(file.parent)
    assert store.load(TANAKA) == SavedState()
    if make == "mkdir":
        with pytest.raises(OSError):  # noqa: PT011 - each platform has its own
            store.save(TANAKA, FULL)
    else:
        store.save(TANAKA, FULL)
        assert store.load(TANAKA) == FULL
