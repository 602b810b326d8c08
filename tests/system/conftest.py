"""Fixtures of the system tests on Linux: keyring, servers on a loop, clients, a server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from demo.private_keyring import PrivateKeyring
    from tests.support.installation import Server
    from tests.support.loop_thread import LoopThread
    from tests.support.pc import Pc


@pytest.fixture(scope="module")
def environ(keyring_environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """Yield this process's environment with the address of the tests' keyring."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in keyring_environment.items():
            patch.setenv(name, value)
        yield dict(os.environ)


@pytest.fixture
def keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PrivateKeyring]:
    """Yield a real Secret Service for this process, which the test may stop and lock."""
    from tests.support.own_keyring import started_keyring

    with started_keyring(tmp_path / "keyring", monkeypatch) as made:
        yield made


@pytest.fixture(scope="module")
def servers() -> Iterator[LoopThread]:
    """Yield an event loop for servers that client processes connect to."""
    from tests.support.loop_thread import LoopThread

    with LoopThread() as made:
        yield made


@pytest.fixture
def new_pc(environ: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Pc]]:
    """`new_pc(server)` returns a client, not running, with a stored login for the server."""
    from tests.support.fake_gateway import PASSWORD
    from tests.support.pc import Pc, quit_all

    made: list[Pc] = []

    def make(
        server: str, *, logged_in: bool = True, password: str = PASSWORD, **options: str
    ) -> Pc:
        one = Pc(tmp_path / f"pc-{len(made)}", environ, server, **options)
        if logged_in:
            one.be_logged_in(password)
        made.append(one)
        return one

    yield make
    quit_all(made)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield one server for many tests, each with users of its own."""
    from tests.support.installation import Installation

    installation = Installation(tmp_path_factory.mktemp("server") / "data")
    installation.create()
    with installation.serving() as running:
        yield running
        assert running.stop() == 0
