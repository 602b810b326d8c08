"""Installations to break, on SQLite and on PostgreSQL, copied from such that are made once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.installation import Installation
from tests.support.postgres import Postgres, running_postgres


@pytest.fixture(scope="session")
def model_installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Return the installation that the others on SQLite are copies of."""
    installation = Installation(tmp_path_factory.mktemp("model") / "data")
    installation.create()
    return installation


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One that may be stopped and killed, as long as it runs again afterwards."""
    with running_postgres(fsync=True) as server:
        yield server


@pytest.fixture(scope="session")
def template(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the name of the database that the others on PostgreSQL are copies of."""
    url = postgres.new_database()
    Installation(tmp_path_factory.mktemp("template") / "data", database=url).create()
    return url.rpartition("/")[2]


@pytest.fixture
def installation(model_installation: Installation, tmp_path: Path) -> Installation:
    """On SQLite, with an account and its administrator."""
    shutil.copytree(model_installation.directory, tmp_path / "data")
    return Installation(tmp_path / "data")


@pytest.fixture
def installation_on_postgres(
    postgres: Postgres, template: str, model_installation: Installation, tmp_path: Path
) -> Iterator[Installation]:
    """Return a new installation on PostgreSQL."""
    directory = tmp_path / "data"
    directory.mkdir()
    shutil.copy(model_installation.directory / "secret_key", directory)
    url = postgres.new_database(template=template)
    # Without it, a crash takes the copy's sequences back to where the template's were.
    postgres.execute("CHECKPOINT")
    yield Installation(directory, database=url)
    postgres.drop_database(url)


@pytest.fixture(params=["installation", "installation_on_postgres"], ids=["sqlite", "postgresql"])
def any_installation(request: pytest.FixtureRequest) -> Installation:
    """On either engine."""
    installation: Installation = request.getfixturevalue(request.param)
    return installation


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_installation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    """With no schema yet, on either engine."""
    if request.param == "sqlite":
        yield Installation(tmp_path / "data")
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = server.new_database()
    yield Installation(tmp_path / "data", database=url)
    server.drop_database(url)
