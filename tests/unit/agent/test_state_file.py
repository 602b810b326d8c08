"""The memory's file: kept, replaced, and set aside when it is broken."""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from agent.core.credentials import Identity
from agent.core.saved_state import SavedState
from agent.ports import SavedStateStore
from agent.state_file import MAX_BYTES, StateFile
from tests.support.fakes import FakeSavedStateStore

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


@pytest.fixture(params=["fake", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> SavedStateStore:
    return FakeSavedStateStore() if request.param == "fake" else StateFile(tmp_path / "state")


def test_gives_back_what_was_saved(store: SavedStateStore) -> None:
    """Every field; and an empty memory where there is none."""
    assert store.load(TANAKA) == SavedState()
    store.save(TANAKA, FULL)
    assert store.load(TANAKA) == FULL
    store.save(TANAKA, SavedState())
    assert store.load(TANAKA) == SavedState()


def test_identities_are_apart(store: SavedStateStore) -> None:
    """Whatever is in a name, it is no path."""
    store.save(TANAKA, FULL)
    store.save(SUZUKI, SavedState(clock_offset_s=1))
    assert store.load(TANAKA) == FULL
    assert store.load(SUZUKI).clock_offset_s == 1


@pytest.mark.skipif(sys.platform == "win32", reason="modes are Unix's")
def test_files_are_private(tmp_path: Path) -> None:
    """0600 in 0700, two files for two identities, nothing outside."""
    store = StateFile(tmp_path / "state")
    store.save(TANAKA, FULL)
    store.save(SUZUKI, FULL)
    files = list((tmp_path / "state").iterdir())
    assert len(files) == 2
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600] * 2
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"clock_offset_s": "x"}',
        b'{"old_valid_until": "2026-12-23T04:05:06"}',
        b"[" * 100_000,
        b'{"warned_session": "' + b"x" * MAX_BYTES + b'"}',
    ],
    ids=["empty", "half", "list", "bytes", "type", "no zone", "depth", "long"],
)
def test_a_broken_file_is_set_aside(
    tmp_path: Path, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A broken file is logged and kept under another name, and the client goes on."""
    store = StateFile(tmp_path)
    store.save(TANAKA, FULL)
    (file,) = tmp_path.iterdir()
    file.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        assert store.load(TANAKA) == SavedState()
    assert file.name in caplog.text
    assert file.with_suffix(".broken").read_bytes() == data
    store.save(TANAKA, FULL)
    assert store.load(TANAKA) == FULL


def test_a_later_versions_fields_are_passed_over(tmp_path: Path) -> None:
    """A downgrade does not lose the deadline."""
    store = StateFile(tmp_path)
    store.save(TANAKA, FULL)
    (file,) = tmp_path.iterdir()
    file.write_text(file.read_text().replace("{", '{"new_field": 1,', 1))
    assert store.load(TANAKA) == FULL


def test_a_file_that_cannot_be_read_is_done_without(tmp_path: Path) -> None:
    """A directory in its place: told, not raised; saving tells by OSError."""
    store = StateFile(tmp_path)
    store.save(TANAKA, FULL)
    (file,) = tmp_path.iterdir()
    file.unlink()
    file.mkdir()
    (file / "x").touch()
    assert store.load(TANAKA) == SavedState()
    with pytest.raises(OSError):  # noqa: PT011 - each platform has its own
        store.save(TANAKA, FULL)


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes in folders are Unix's")
def test_a_pipe_in_place_of_the_file(tmp_path: Path) -> None:
    """The client goes on without it, and the next write replaces it."""
    store = StateFile(tmp_path)
    store.save(TANAKA, FULL)
    (file,) = tmp_path.iterdir()
    file.unlink()
    os.mkfifo(file)
    assert store.load(TANAKA) == SavedState()
    store.save(TANAKA, FULL)
    assert store.load(TANAKA) == FULL
