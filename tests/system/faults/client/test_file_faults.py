"""The client's files under power cuts, kills and bad disks have the old content or the new one.

The fuzzers damage files in many more ways; see `fuzz/client_targets.py`.
"""

from __future__ import annotations

import gettext
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent import i18n, settings
from agent.__main__ import main
from agent.core.credentials import Identity
from agent.core.saved_state import SavedState
from agent.paths import Paths, find_paths
from agent.settings import BrokenSettings
from agent.state_file import StateFile

TANAKA = Identity(server="wss://gw.example.com/gateway", user="tanaka")
SUZUKI = Identity(server="wss://gw.example.com/gateway", user="suzuki")
OLD = SavedState(old_valid_until=datetime(2026, 12, 23, tzinfo=UTC), warned_session="boot/1")
NEW = SavedState(clock_offset_s=3.0)
SAVE = """
import sys
from agent.core.credentials import Identity
from agent.core.saved_state import SavedState
from agent.paths import find_paths
from agent.settings import save_identity
from agent.state_file import StateFile
paths = find_paths({"COCONOWORK_HOME": sys.argv[1]})
identity = Identity(server="wss://gw.example.com/gateway", user="suzuki")
save_identity(paths, identity)
StateFile(paths.state_dir).save(identity, SavedState(clock_offset_s=3.0))
"""
"""A program that saves settings, their copy, and the state, each with new content."""


def paths_in(directory: Path) -> Paths:
    return find_paths({"COCONOWORK_HOME": str(directory)})


def with_old_files(directory: Path) -> list[str]:
    """Save old settings and an old state. Return the command that saves new ones."""
    settings.save_identity(paths_in(directory), TANAKA)
    StateFile(paths_in(directory).state_dir).save(SUZUKI, OLD)
    return [sys.executable, "-B", "-c", SAVE, str(directory)]


def content(directory: Path) -> tuple[Identity | None, SavedState]:
    """Return the content of settings and state."""
    paths = paths_in(directory)
    return settings.load(paths, environ={}).identity, StateFile(paths.state_dir).load(SUZUKI)


def test_a_power_cut(tmp_path: Path) -> None:
    """After a power cut at any system call, a file has the old or the new content.

    A file is written under another name, synced, renamed, and then its folder is synced.
    """
    directory, trace = tmp_path / "disk", tmp_path / "trace"
    save, traced = with_old_files(directory), "write,pwrite64,ftruncate,fsync,fdatasync,rename"
    options = [f"--trace={traced},renameat,renameat2", "--decode-fds=path", f"--output={trace}"]
    subprocess.run(["strace", "--follow-forks", *options, *save], check=True, timeout=60)
    calls: list[tuple[str, ...]] = []
    for line in trace.read_text().splitlines():
        name = re.match(r"\d+ +(\w+)\(", line)
        paths = re.findall(rf"({re.escape(str(directory))}[^\">]*)[\">]", line)
        if name and paths and " = -1 " not in line:
            calls.append((name[1], *paths))

    renames = [number for number, (call, *_) in enumerate(calls) if call.startswith("rename")]
    assert len(renames) == 3
    renamed = {calls[number][1] for number in renames}
    for call, path, *_ in calls:
        assert call in {"fsync", "fdatasync"} or path in renamed, f"{call} in place: {path}"
    for number in renames:
        _, old, new = calls[number]
        before = [call for call, path, *_ in calls[:number] if path == old]
        assert "write" in before
        assert before[-1] in {"fsync", "fdatasync"}, before
        assert ("fsync", str(Path(new).parent)) in calls[number:], "the new name is not synced"
    assert content(directory) == (SUZUKI, NEW)


@pytest.mark.parametrize("rename", [1, 3], ids=["settings", "state"])
def test_killed_during_a_write(tmp_path: Path, rename: int) -> None:
    """After SIGKILL the next save works, and removes the killed one's temporary file."""
    save = with_old_files(tmp_path)
    inject = ["-e", "trace=rename", "-e", f"inject=rename:signal=SIGKILL:when={rename}"]
    strace = ["strace", "-f", "-o", str(tmp_path / "trace"), *inject]
    assert subprocess.run([*strace, *save], check=False, timeout=60).returncode != 0
    assert list(tmp_path.rglob("*.new"))
    user, state = content(tmp_path)
    assert user in (TANAKA, SUZUKI)
    assert state in (OLD, NEW)
    subprocess.run(save, check=True, timeout=60)
    assert content(tmp_path) == (SUZUKI, NEW)
    assert not list(tmp_path.rglob("*.new"))


# --- broken content


def test_damaged_settings(tmp_path: Path) -> None:
    """Damaged settings are renamed; the last copy replaces them, unless it is damaged, too."""
    paths = paths_in(tmp_path)
    settings.save_identity(paths, TANAKA)
    good = paths.config_file.read_bytes()
    for data in (good[:20], good.replace(b'"', b"\xff"), bytes(len(good)), good + bytes(512)):
        paths.config_file.write_bytes(data)
        with pytest.raises(BrokenSettings, match=re.escape(str(paths.config_file))):
            settings.load(paths, environ={})
        aside, restored = settings.set_aside(paths)
        assert restored
        assert aside.read_bytes() == data
        assert settings.load(paths, environ={}).identity == TANAKA

    with paths.config_file.open("r+b") as file:
        file.truncate(2**36)  # too large for memory; a sparse file
    with pytest.raises(BrokenSettings, match="too large"):
        settings.load(paths, environ={})
    assert settings.set_aside(paths) == (aside, True)
    assert aside.stat().st_size == settings.MAX_BYTES + 1

    for each in (paths.config_file, settings.copy_of(paths)):
        each.write_bytes(bytes(80))
    assert settings.set_aside(paths) == (aside, False)
    assert settings.load(paths, environ={}).identity is None


def test_without_a_copy_the_user_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a good copy, `login` renames broken settings and asks for another login."""
    monkeypatch.setenv("COCONOWORK_HOME", str(tmp_path))
    monkeypatch.setenv("LANG", "ja_JP.UTF-8")
    file = paths_in(tmp_path).config_file
    file.write_bytes(b"\x00" * 100)
    assert main(["status"]) == 1
    assert "TOML" in capsys.readouterr().err
    assert file.exists()
    monkeypatch.setattr("sys.stdin", None)
    assert main(["login", "--server", "wss://gw.example.com", "--user", "tanaka"]) == 1
    told = capsys.readouterr().err
    assert "client.toml.broken に変更しました。もう一度ログインしてください。" in told
    assert not file.exists()


def test_damaged_catalogues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a broken translation the program starts in English."""
    file = Path("ja", "LC_MESSAGES", "agent.mo")
    good = (i18n.LOCALE_DIR / file).read_bytes()
    monkeypatch.setattr(i18n, "LOCALE_DIR", tmp_path)
    (tmp_path / file).parent.mkdir(parents=True)
    for data in (b"", good[:10], good[:-100], bytes(100), good[:40] + b"\xff" * 400 + good[440:]):
        (tmp_path / file).write_bytes(data)
        gettext._translations.clear()  # type: ignore[attr-defined] # what it has read before
        assert i18n.translation("ja").gettext("Stopped") == "Stopped"
