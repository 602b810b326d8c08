"""Replacing a file is atomic: after a failure the old file is whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.files import replace_file
from tests.support.disks import needs_root, small_disk


def test_replaces(tmp_path: Path) -> None:
    """`replace` writes a new file, private to this user, and leaves no other file."""
    path = tmp_path / "new" / "file"
    replace_file(path, b"one")
    first = path.stat().st_ino
    replace_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_ino != first
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert list(path.parent.iterdir()) == [path]


@needs_root
def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    """A full disk leaves the old file whole, and no temporary file."""
    with small_disk(tmp_path / "disk", "64k") as disk:
        path = disk / "file"
        replace_file(path, b"old")
        with pytest.raises(OSError, match="No space left"):
            replace_file(path, b"x" * 100_000)
        assert path.read_bytes() == b"old"
        assert list(disk.iterdir()) == [path]


def test_a_folder_that_refuses_new_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that allows no new files raises at once, without a retry."""
    tried: list[object] = []

    def refuse(path: object, *_: object) -> int:
        tried.append(path)
        raise PermissionError(13, "refused")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError):
        replace_file(tmp_path / "file", b"new")
    assert len(tried) == 1
