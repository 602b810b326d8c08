"""Installations to break: one on SQLite, copied from one that is made once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pbkdf2 import derived_once
from tests.server_faults.house import House


@pytest.fixture(scope="session", autouse=True)
def _hash_once() -> Iterator[None]:
    with derived_once():
        yield


@pytest.fixture(scope="session")
def model_house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """What the others are copies of."""
    house = House(tmp_path_factory.mktemp("model") / "data")
    house.create()
    return house


@pytest.fixture
def house(model_house: House, tmp_path: Path) -> House:
    """On SQLite, with an account and its administrator."""
    directory = tmp_path / "data"
    shutil.copytree(model_house.directory, directory)
    return House(directory)


@pytest.fixture(params=["sqlite"])
def empty_house(tmp_path: Path) -> House:
    """No database yet, on either engine."""
    return House(tmp_path / "data")
