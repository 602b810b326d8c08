"""Another user of the same PC can neither read the client's files nor replace its folders."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.core.state import State
from agent.core.view import View
from agent.files import replace_file
from agent.menu_actions import MenuActions
from agent.paths import Paths, find_paths, make_private
from agent.settings import Settings, save
from tests.support.fakes import fake_adapters
from tests.support.pc import Pc, quit_all
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


@pytest.fixture
def no_umask() -> Iterator[None]:
    """Set umask 0, so that only the program can make files private."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def paths(home: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """Return the usual paths of a user with this home and without a runtime directory."""
    for name in [name for name in os.environ if name.startswith("XDG_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    return find_paths()


@pytest.fixture
def new_client(home: Path, keyring_environment: dict[str, str]) -> Iterator[Callable[[str], Pc]]:
    """`new_client(folder)` returns a client with its profile in this folder of the home."""
    environ = {**os.environ, **keyring_environment, "HOME": str(home)}
    made: list[Pc] = []

    def make(folder: str) -> Pc:
        made.append(Pc(home / folder, environ, "ws://127.0.0.1:1/gateway"))
        return made[-1]

    yield make
    quit_all(made)


@pytest.mark.usefixtures("no_umask")
def test_a_running_client(home: Path, new_client: Callable[[str], Pc]) -> None:
    """All files and folders of a running client are for its user only."""
    pc = new_client("made/deep/profile")
    save(pc.paths, {"server": pc.identity.server, "user": pc.identity.user})
    pc.start()
    pc.wait_for("logged_out")
    replace_file(pc.paths.state_dir / "x.json", b"{}")
    made = list((home / "made").rglob("*"))
    assert {"client.log", "client.toml", "x.json"} <= {each.name for each in made}
    for each in [home / "made", *made]:
        assert each.stat().st_mode & 0o077 == 0, each
    assert json.loads(said_by(OTHER_USER, TRY_ALL, str(home / "made"))) == []


@pytest.mark.usefixtures("no_umask")
def test_the_places_of_the_platform(home: Path, paths: Paths) -> None:
    """Folders below the home, and new ones above them, are for their user only."""
    for directory in (paths.state_dir, paths.log_dir, paths.config_file.parent):
        make_private(directory)
    save(paths, {"language": "ja"})
    made = list(home.rglob("*"))
    assert len(made) > 4
    assert [each for each in made if each.stat().st_mode & 0o077] == []


@pytest.mark.usefixtures("no_umask")
def test_saved_diagnostics(home: Path, paths: Paths) -> None:
    """A saved log is for its user only."""
    make_private(paths.log_dir)
    paths.log_file.write_text("2026-11-23 something\n")
    told: list[str] = []
    toasts = SimpleNamespace(show=lambda _, __, text, *___: told.append(text))
    app: Any = SimpleNamespace(view=View(State.RETRYING), toasts=toasts)
    actions = MenuActions(app, Settings(), paths, None, fake_adapters())
    actions._save_diagnostics()
    saved = Path(told[0])
    assert saved.parent == home
    with zipfile.ZipFile(saved) as file:
        assert {"state.json", "settings.json", "doctor.txt", "client.log"} == set(file.namelist())
        assert file.read("doctor.txt").startswith(b"Settings: ")
    assert saved.stat().st_mode & 0o077 == 0
    assert json.loads(said_by(OTHER_USER, TRY_ALL, str(saved))) == []


@pytest.mark.parametrize("mode", [0o700, 0o777])
@pytest.mark.parametrize("taken", ["log", "state"])
def test_a_folder_that_was_there_first(
    home: Path, new_client: Callable[[str], Pc], taken: str, mode: int
) -> None:
    """The client puts nothing into a folder of another user."""
    pc = new_client("profile")
    squatted = home / "profile" / taken
    squatted.mkdir(parents=True)
    squatted.chmod(mode)
    os.chown(squatted, OTHER_USER, OTHER_USER)
    save(pc.paths, {"server": pc.identity.server, "user": pc.identity.user})
    pc.start()
    pc.wait_for("logged_out")
    pc.quit()
    assert list(squatted.iterdir()) == []
    assert squatted.stat().st_uid == OTHER_USER
