"""What other programs can read of the client's processes, or make the processes load."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from gettext import NullTranslations
from pathlib import Path
from unittest.mock import Mock

import pytest

from agent import desktop
from agent.core.state import State
from agent.core.view import View
from agent.dialogs.host import ProcessDialogs
from agent.dialogs.process import window_environment
from agent.paths import find_paths
from agent.program import program
from agent.settings import Settings
from tests.support.places import ROOT
from tests.support.polling import eventually
from tests.support.strangers import BECOME, OTHER_USER, OWNER, needs_root, said_by

SECRET = "hidden-w0rd"


# --- what other programs can see of a process that has a password


VICTIM = f"""
import sys
import faulthandler
sys.path.insert(0, {str(ROOT)!r})
import agent.__main__, agent.desktop, agent.program, agent.settings, agent.address
import encodings.idna, agent.dialogs.window, agent.dialogs.status, agent.dialogs.pipe
import agent.dialogs.password, agent.dialogs.status, resource, tomllib, tomlkit, agent.command_line
import agent.app, agent.linux.control, agent.vault, agent.menu_actions, shutil, subprocess
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
{BECOME}
sys.exit(agent.__main__.main(sys.argv[1:]))
"""
"""A client's command that gives up root once it has imported what it needs."""


@pytest.fixture(
    params=[["login", "--server", "gw.example.com", "--user", "tanaka"], ["dialog", "password"]],
    ids=["login", "dialog"],
)
def victim(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Yield a hardened process that waits, for a password or for its first message."""
    for each in [tmp_path, *tmp_path.parents][:3]:
        each.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    os.chown(home, OWNER, OWNER)
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", VICTIM, str(OWNER), *request.param],
        env={"COCONOWORK_HOME": str(home), "PATH": os.environ["PATH"], "TOKEN": SECRET},
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        text=True,
        cwd=home,
    ) as process:

        def is_hardened() -> bool:
            assert process.poll() is None, process.communicate()
            status, limits = (
                Path(f"/proc/{process.pid}/{name}").read_text() for name in ("status", "limits")
            )
            [core] = [line.split()[4] for line in limits.splitlines() if "core" in line]
            return f"Uid:\t{OWNER}\t" in status and core == "0"

        try:
            eventually(is_hardened)
            yield process
        finally:
            process.kill()
            process.communicate()


LOOK = """
pid = int(sys.argv[1])
seen = []
for name in ("mem", "environ", "maps", "fd", "auxv"):
    try:
        os.listdir(f"/proc/{pid}/{name}") if name == "fd" else open(f"/proc/{pid}/{name}").close()
        seen.append(name)
    except OSError:
        pass
if ctypes.CDLL(None, use_errno=True).ptrace(16, pid, 0, 0) == 0:
    seen.append("ptrace")
print(json.dumps(seen))
"""


@needs_root
def test_no_other_program_looks_into_it(victim: subprocess.Popen[str], tmp_path: Path) -> None:
    """No program, even of the same user, reads a hardened process; it leaves no core dump."""
    code = "import time; print('ready', flush=True); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", f"{BECOME}\n{code}", str(OWNER)], stdout=subprocess.PIPE
    ) as open_one:
        assert open_one.stdout is not None
        open_one.stdout.readline()
        control = json.loads(said_by(OWNER, LOOK, str(open_one.pid)))
        open_one.kill()
    assert {"mem", "environ", "maps", "fd"} <= set(control)
    for user in (OWNER, OTHER_USER):
        assert json.loads(said_by(user, LOOK, str(victim.pid))) == []
    victim.send_signal(signal.SIGSEGV)
    victim.communicate()
    assert victim.returncode == -signal.SIGSEGV
    assert list((tmp_path / "home").glob("core*")) == []


def test_the_client_itself_is_hardened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run`, and a command that acts as the client, are hardened before they use the keyring."""

    class HardenedError(Exception): ...

    monkeypatch.setattr(desktop, "harden", Mock(side_effect=HardenedError))
    monkeypatch.setattr(desktop, "_core_adapters", None)
    monkeypatch.setattr("agent.logs.set_up", Mock())
    paths = find_paths({"COCONOWORK_HOME": str(tmp_path)})
    with pytest.raises(HardenedError):
        desktop.run(Settings(), paths, NullTranslations(), [])
    with pytest.raises(HardenedError):
        desktop.run_once({}, Settings(), paths, NullTranslations())


# --- what a window's process gets


def _dialogs(start: list[str] | None) -> ProcessDialogs:
    return ProcessDialogs(
        log_in=lambda *_: Future(),
        pair=lambda *_: Future(),
        view=lambda: View(State.STANDBY, server="wss://gw.example.com/gateway", user="tanaka"),
        on_command=lambda _: None,
        translations=NullTranslations(),
        settings=Settings(),
        start=start,
    )


def test_a_window_gets_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dialog's process gets no open file, keyring address or proxy login."""
    kept_back = "COCONOWORK_PROXY", "HTTPS_PROXY", "DBUS_SESSION_BUS_ADDRESS", "SSH_AUTH_SOCK"
    for name in kept_back:
        monkeypatch.setenv(name, f"http://u:{SECRET}@proxy.example.com:8080")
    monkeypatch.setenv("COCONOWORK_HOME", str(tmp_path))
    seen = tmp_path / "seen"
    script = (
        "import json, os, sys; files = os.listdir('/proc/self/fd');"
        "line = sys.stdin.buffer.readline().decode();"
        "facts = [dict(os.environ), sorted(map(int, files)), os.getcwd(), line, sys.argv[2:]];"
        "open(sys.argv[1] + '.new', 'w').write(json.dumps(facts));"
        "os.rename(sys.argv[1] + '.new', sys.argv[1])"
    )
    with (tmp_path / "secrets").open("w") as kept:
        os.set_inheritable(kept.fileno(), True)
        dialogs = _dialogs([sys.executable, "-c", script, str(seen)])
        dialogs.ask_password()
        eventually(seen.exists)
        dialogs.close()
    environ, files, folder, line, arguments = json.loads(seen.read_text())
    assert SECRET not in json.dumps(environ)
    assert environ["COCONOWORK_HOME"] == str(tmp_path)
    assert files in ([0, 1, 2], [0, 1, 2, 3])  # 3 is the listing's own
    assert folder == str(ROOT)
    assert arguments == ["dialog", "password"]
    assert json.loads(line).keys() <= {
        "type", "assets", "server", "user", "first", "fixed", "notes", "rows", "snapshot",
        "quiet", "console_url",
    }  # fmt: skip


def test_names_of_the_environment_on_windows() -> None:
    """Names of variables are compared without case; PyInstaller's variables are passed on."""
    environ = {"SystemRoot": "a", "Path": "b", "_PYI_APPLICATION_HOME_DIR": "c", "Token": "d"}
    assert window_environment(environ).keys() == environ.keys() - {"Token"}


# --- modules and libraries that an attacker has planted


def test_no_planted_module_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Window and installed script import nothing from the folder in which they are started."""
    hostile, taken = tmp_path / "hostile", tmp_path / "taken"
    hostile.mkdir()
    names = {*sys.stdlib_module_names, "agent", "tkinter", "msgspec", "websockets", "keyring"}
    for name in names - {"__main__"}:
        (hostile / f"{name}.py").write_text(f"open({str(taken)!r}, 'a').write({name!r})\n")
    monkeypatch.chdir(hostile)
    monkeypatch.delenv("DISPLAY", raising=False)
    dialogs = _dialogs(None)
    dialogs.show_about()
    shown = dialogs._open
    assert shown is not None
    assert shown._process.wait(60) != 0  # fails for want of a screen
    dialogs.close()

    script = tmp_path / "bin" / "coconowork-client"
    script.parent.mkdir()
    script.write_text(
        f"#!{sys.executable}\nimport sys\nfrom agent.__main__ import main\nsys.exit(main())\n"
    )
    script.chmod(0o755)
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "COCONOWORK_HOME": str(tmp_path / "home")}
    done = subprocess.run([script, "status"], env=environ, capture_output=True, check=False)
    assert done.returncode == 3, done.stderr
    assert not taken.exists()
    # Without the protection the planted module is imported, so this test can fail:
    subprocess.run([*program(), "--version"], check=False, capture_output=True, timeout=60)
    assert taken.exists()
