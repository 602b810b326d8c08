"""The client's files under power cuts, kills and bad disks have the old content or the new one.

Whatever a file holds, the client goes on, and says which file it has set aside.
"""

from __future__ import annotations

import gettext
import itertools
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent import i18n, settings, settings_copy
from agent.__main__ import main
from agent.core.credentials import Credentials, Identity, encode_credentials
from agent.core.failure import Reason
from agent.core.saved_state import SavedState
from agent.paths import Paths, find_paths
from agent.ports import VaultError
from agent.settings import BrokenSettings, SettingsError
from agent.state_file import StateFile
from protocol.sealing import new_device_key
from tests.support.fakes import FakeVault

TANAKA = Identity(server="wss://gw.example.com/gateway", user="tanaka")
SUZUKI = Identity(server="wss://gw.example.com/gateway", user="suzuki")
OLD = SavedState(old_valid_until=datetime(2026, 12, 23, tzinfo=UTC), warned_session="boot/1")
NEW = SavedState(clock_offset_s=3.0, console_url="https://console.example.com/")
SAVE_SETTINGS = """
import sys
from agent.core.credentials import Identity
from agent.paths import find_paths
from agent.settings import save_identity
paths = find_paths({"COCONOWORK_HOME": sys.argv[1]})
save_identity(paths, Identity(server="wss://gw.example.com/gateway", user="suzuki"))
"""
SAVE_STATE = """
import sys
from pathlib import Path
from agent.state_file import StateFile
from agent.core.saved_state import SavedState
from agent.core.credentials import Identity
StateFile(Path(sys.argv[1])).save(
    Identity(server="wss://gw.example.com/gateway", user="tanaka"),
    SavedState(clock_offset_s=3.0, console_url="https://console.example.com/"),
)
"""
needs_strace = pytest.mark.skipif(sys.platform == "win32", reason="strace is a program of Linux")
WRITE_IN_PLACE = "import sys, pathlib; pathlib.Path(sys.argv[1], 'file').write_bytes(b'new!')"


def paths_in(directory: Path) -> Paths:
    return find_paths({"COCONOWORK_HOME": str(directory)})


def traced(program: str, directory: Path) -> list[tuple[str, ...]]:
    """Run `python -c program directory`. Return its writing system calls with their paths."""
    trace, calls = directory.parent / "trace", "write,pwrite64,ftruncate,fsync,fdatasync,rename"
    options = [f"--trace={calls},renameat,renameat2", "--decode-fds=path", f"--output={trace}"]
    command = ["strace", "--follow-forks", *options, sys.executable, "-c", program]
    subprocess.run([*command, str(directory)], check=True, timeout=60)
    found = []
    for line in trace.read_text().splitlines():
        call = re.match(r"\d+ +(\w+)\(", line)
        paths = re.findall(rf"({re.escape(str(directory))}[^\">]*)[\">]", line)
        if call and paths and " = -1 " not in line:
            found.append((call[1], *paths))
    return found


def assert_durable(calls: list[tuple[str, ...]], directory: Path) -> None:
    """Assert that a power cut after any call leaves each file old or new, and new at the end.

    A file is written under another name, synced, renamed, and then its folder is synced.
    """
    renames = [number for number, (call, *_) in enumerate(calls) if call.startswith("rename")]
    assert renames
    renamed = {calls[number][1] for number in renames}
    for call, path, *_ in calls:
        assert call in {"fsync", "fdatasync"} or path in renamed, f"{call} in place: {path}"
    for number in renames:
        before = [call for call, path, *_ in calls[:number] if path == calls[number][1]]
        assert "write" in before
        assert before[-1] in {"fsync", "fdatasync"}, before
        assert ("fsync", str(directory)) in calls[number:], "the new name is not synced"


@needs_strace
def test_a_write_in_place_is_found(tmp_path: Path) -> None:
    """The check of the system calls finds a file that a power cut can leave half written."""
    directory = tmp_path / "disk"
    directory.mkdir()
    with pytest.raises(AssertionError):
        assert_durable(traced(WRITE_IN_PLACE, directory), directory)


Prepare = Callable[[Path], Callable[[], object]]


def old_settings(directory: Path) -> Callable[[], object]:
    settings.save_identity(paths_in(directory), TANAKA)
    return lambda: settings.load(paths_in(directory), environ={}).identity


def old_state(directory: Path) -> Callable[[], object]:
    StateFile(directory).save(TANAKA, OLD)
    return lambda: StateFile(directory).load(TANAKA)


KINDS = pytest.mark.parametrize(
    ("prepare", "program", "old", "new"),
    [
        pytest.param(old_settings, SAVE_SETTINGS, TANAKA, SUZUKI, id="settings"),
        pytest.param(old_state, SAVE_STATE, OLD, NEW, id="state"),
    ],
)
"""Prepare a directory and return what reads its file; a program that writes the file; contents."""


@KINDS
@needs_strace
def test_a_power_cut(
    tmp_path: Path, prepare: Prepare, program: str, old: object, new: object
) -> None:
    """After a power cut at any system call, a file has the old or the new content."""
    directory = tmp_path / "disk"
    directory.mkdir()
    read = prepare(directory)
    assert read() == old
    assert_durable(traced(program, directory), directory)
    assert read() == new


@KINDS
@needs_strace
def test_killed_during_a_write(
    tmp_path: Path, prepare: Prepare, program: str, old: object, new: object
) -> None:
    """After SIGKILL the next save works, and leaves no file of the killed one behind."""
    read = prepare(tmp_path)
    save = [sys.executable, "-c", program, str(tmp_path)]
    inject = ["-e", "trace=rename", "-e", "inject=rename:signal=SIGKILL:when=1"]
    strace = ["strace", "-f", "-o", "/dev/null", *inject]
    assert subprocess.run([*strace, *save], check=False, timeout=60).returncode != 0
    assert list(tmp_path.glob("*.new"))
    assert read() in (old, new)
    subprocess.run(save, check=True, timeout=60)
    assert read() == new
    assert not list(tmp_path.glob("*.new"))


# --- broken content


def damages(data: bytes) -> list[bytes]:
    """Return `data` cut off at every byte, with every bit flipped, and as disks leave files."""
    cut = [data[:length] for length in range(len(data))]
    turned = [
        data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
        for at, bit in itertools.product(range(len(data)), range(8))
    ]
    return [*cut, *turned, bytes(len(data)), data + bytes(512), b"\xff" * 64, data * 2]


def test_damaged_settings(tmp_path: Path) -> None:
    """Damaged settings are read, refused by name, or replaced by the last good copy."""
    paths = paths_in(tmp_path)
    settings.save_identity(paths, TANAKA)
    good = paths.config_file.read_bytes()
    rescued, named = 0, []
    for data in damages(good):
        paths.config_file.write_bytes(data)
        try:
            settings.load(paths, environ={})
        except BrokenSettings:
            aside, restored = settings_copy.set_aside(paths)
            assert restored
            assert aside.read_bytes() == data
            assert settings.load(paths, environ={}).identity == TANAKA
            rescued += 1
        except SettingsError as exc:
            named.append(str(paths.config_file) in exc.message)
    assert rescued > len(good)
    assert all(named)


def test_damaged_state(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each damaged file is either read, or set aside and logged."""
    store = StateFile(tmp_path)
    store.save(TANAKA, NEW)
    (file,) = tmp_path.iterdir()
    good = file.read_bytes()
    broken = file.with_suffix(".broken")
    for data in damages(good):
        file.write_bytes(data)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            found = store.load(TANAKA)
        if not file.exists():
            assert found == SavedState()
            assert "set aside" in caplog.text
            assert broken.read_bytes() == data
            broken.unlink()


def test_damaged_vault_entries() -> None:
    """Each damaged entry is either read, or reported as broken."""
    vault = FakeVault()
    good = encode_credentials(
        Credentials(password="Passw0rd!", device_key=new_device_key())
    ).encode()
    refused = []
    for data in damages(good):
        vault.entries[TANAKA] = data.decode("latin-1")
        try:
            assert isinstance(vault.read(TANAKA), Credentials)
        except VaultError as exc:
            refused.append(exc.reason)
    assert len(refused) > len(good)
    assert set(refused) == {Reason.VAULT_BROKEN}


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


def test_a_copy_that_is_broken_too(tmp_path: Path) -> None:
    """A broken copy is not used: there are no settings, and the user is asked."""
    paths = paths_in(tmp_path)
    settings.save_identity(paths, TANAKA)
    for file in (paths.config_file, settings_copy.copy_of(paths)):
        file.write_bytes(bytes(80))
    aside, restored = settings_copy.set_aside(paths)
    assert not restored
    assert aside.read_bytes() == bytes(80)
    assert settings.load(paths, environ={}).identity is None


def test_settings_that_grew_to_gigabytes(tmp_path: Path) -> None:
    """A file of any size is set aside, cut off, and the good copy takes its place."""
    paths = paths_in(tmp_path)
    settings.save_identity(paths, TANAKA)
    with paths.config_file.open("r+b") as file:
        file.truncate(2**36)  # no memory takes it; the file system stores no zeros
    with pytest.raises(BrokenSettings, match="too large"):
        settings.load(paths, environ={})
    aside, restored = settings_copy.set_aside(paths)
    assert restored
    assert aside.stat().st_size == settings_copy.MAX_BYTES + 1
    assert settings.load(paths, environ={}).identity == TANAKA


def test_damaged_catalogues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a broken translation the program starts in English."""
    monkeypatch.setattr(i18n, "LOCALE_DIR", tmp_path)
    file = tmp_path / "ja" / "LC_MESSAGES" / "agent.mo"
    file.parent.mkdir(parents=True)
    good = next(Path(i18n.__file__).parent.glob("locale/ja/LC_MESSAGES/agent.mo")).read_bytes()
    head = [good[:at] + bytes([good[at] ^ 0xFF]) + good[at + 1 :] for at in range(200)]
    for data in [*(good[:at] for at in range(0, len(good), 401)), *head]:
        file.write_bytes(data)
        gettext._translations.clear()  # type: ignore[attr-defined] # what it has read before
        assert isinstance(i18n.translation("ja").gettext("Stopped"), str)
