"""Another user of the same PC can neither read the client's files nor replace its folders."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from agent.core.state import State
from agent.core.view import View
from agent.files import replace_file
from agent.menu_actions import MenuActions
from agent.paths import find_paths, make_private
from agent.settings import Settings, save
from tests.support.fakes import fake_adapters
from tests.support.pc import Pc
from tests.support.strangers import OTHER_USER, needs_root, said_by

pytestmark = [needs_root, pytest.mark.keyring]

TRY_ALL = """
opened = []
for top in sys.argv[1:]:
    for each in [pathlib.Path(top), *pathlib.Path(top).rglob("*")]:
        for what in (lambda: each.read_bytes(), lambda: list(each.iterdir()),
                     lambda: open(each, "ab"), lambda: (each / "planted").write_text("x")):
            try:
                what()
                opened.append(str(each))
            except OSError:
                pass
print(json.dumps(opened))
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """Yield a home that other users may list, as many systems make it."""
    path = Path(tempfile.mkdtemp(prefix="home-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(autouse=True)
def no_umask() -> Iterator[None]:
    """Set umask 0, so that files are private only if the program makes them so."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def pc(home: Path, keyring_environment: dict[str, str]) -> Iterator[Pc]:
    """Yield a client with its profile below the home, and with settings."""
    environ = {**os.environ, **keyring_environment, "HOME": str(home)}
    made = Pc(home / "made" / "deep" / "profile", environ, "ws://127.0.0.1:1/gateway")
    save(made.paths, {"server": made.identity.server, "user": made.identity.user})
    yield made
    made.quit()


def test_a_running_client(home: Path, pc: Pc) -> None:
    """All files and folders of a running client are private, and it writes no core dump."""
    pc.start()
    pc.wait_for("logged_out")
    assert psutil.Process(pc.pid).rlimit(psutil.RLIMIT_CORE) == (0, 0)
    replace_file(pc.paths.state_dir / "x.json", b"{}")
    made = list((home / "made").rglob("*"))
    assert {"client.log", "client.toml", "x.json"} <= {each.name for each in made}
    for each in [home / "made", *made]:
        assert each.stat().st_mode & 0o077 == 0, each
    assert json.loads(said_by(OTHER_USER, TRY_ALL, str(home / "made"))) == []


def test_the_places_of_the_platform(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's folders below the home, new parents, and a saved log are private."""
    for name in [name for name in os.environ if name.startswith("XDG_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    paths = find_paths()
    for directory in (paths.state_dir, paths.log_dir, paths.config_file.parent):
        make_private(directory)
    save(paths, {"language": "ja"})
    paths.log_file.write_text("2026-11-23 something\n")
    told: list[str] = []
    toasts = SimpleNamespace(show=lambda _, texts, *__: told.append(texts[1]))
    app: Any = SimpleNamespace(view=View(State.RETRYING), toasts=toasts)
    actions = MenuActions(app, Settings(), paths, None, fake_adapters())
    actions._save_diagnostics()
    saved = Path(told[0])
    assert saved.parent == home
    with zipfile.ZipFile(saved) as file:
        assert {"state.json", "settings.json", "doctor.txt", "client.log"} == set(file.namelist())
        assert file.read("doctor.txt").startswith(b"Settings: ")
    made = set(home.rglob("*")) - {paths.log_file}
    assert len(made) > 5
    assert [each for each in made if each.stat().st_mode & 0o077] == []


def test_a_folder_that_was_there_first(pc: Pc) -> None:
    """The client puts nothing into a folder of another user, whatever its mode."""
    squatted = {"log": 0o777, "state": 0o700}
    for name, mode in squatted.items():
        folder = pc.paths.config_file.parent / name
        folder.mkdir()
        folder.chmod(mode)
        os.chown(folder, OTHER_USER, OTHER_USER)
    pc.start()
    pc.wait_for("logged_out")
    pc.quit()
    for name in squatted:
        folder = pc.paths.config_file.parent / name
        assert list(folder.iterdir()) == []
        assert folder.stat().st_uid == OTHER_USER
