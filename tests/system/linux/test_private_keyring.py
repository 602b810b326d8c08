"""The demonstration's private keyring: stored in its directory, and ended with its owner."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from agent.desktop import open_keyring
from demo.private_keyring import DemoKeyringError, private_keyring
from tests.support.own_keyring import started_keyring
from tests.support.places import ROOT
from tests.support.polling import eventually

pytestmark = pytest.mark.keyring


def test_keeps_what_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords are stored encrypted in the directory, and no process stays at the end."""
    with started_keyring(tmp_path / "k", monkeypatch) as running:
        open_keyring().set_password("service", "user", "hidden-word")
        processes, runtime = [running._bus, running._service], running._socket.parent
    assert all(process is not None and process.poll() is not None for process in processes)
    assert not runtime.exists()
    files = [path for path in (tmp_path / "k").rglob("*") if path.is_file()]
    assert files
    assert not any(b"hidden-word" in file.read_bytes() for file in files)


def test_missing_programs_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing programs are named with the command that installs them."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(DemoKeyringError, match="apt-get install dbus-daemon gnome-keyring"),
        private_keyring(tmp_path / "k"),
    ):
        pytest.fail("not reached")


SCRIPT = """
import sys
from pathlib import Path
from demo.private_keyring import PrivateKeyring

keyring = PrivateKeyring(Path(sys.argv[1]))
keyring.start()
print(keyring._bus.pid, keyring._service.pid, flush=True)
sys.stdin.read()
"""


def test_ends_with_a_killed_owner(tmp_path: Path) -> None:
    """Bus and keyring end when their owner is killed and cannot stop them."""
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "k")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as program:
        assert program.stdout is not None
        pids = [int(pid) for pid in program.stdout.readline().split()]
        assert len(pids) == 2
        program.kill()
        eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids))
