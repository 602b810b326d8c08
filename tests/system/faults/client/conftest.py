"""What tests of faults share: a keyring for them and their clients, and a stage for servers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.fault_pc import Pc, quit_all
from tests.support.loop_stage import Stage


@pytest.fixture(scope="module")
def environ(keyring_environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """This process's environment, which leads to the tests' keyring."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in keyring_environment.items():
            patch.setenv(name, value)
        yield dict(os.environ)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with Stage() as made:
        yield made


@pytest.fixture
def new_pc(environ: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Pc]]:
    """`new_pc(server)`: a client that is signed in there and does not run yet."""
    made: list[Pc] = []

    def make(server: str, **variables: str) -> Pc:
        one = Pc(tmp_path / f"pc-{len(made)}", environ, server, **variables)
        one.be_signed_in()
        made.append(one)
        return one

    yield make
    quit_all(made)
