"""Installations to break, on SQLite and on PostgreSQL, copied from such that are made once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.installation import Installation
from tests.support.postgres import Postgres, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One that may be stopped and killed, as long as it runs again afterwards."""
    with running_postgres(fsync=True) as server:
        yield server


@pytest.fixture(scope="session")
def template(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Return the installation that the others on PostgreSQL are copies of."""
    folder = tmp_path_factory.mktemp("template")
    made = Installation(folder / "data", database=postgres.new_database())
    made.create()
    return made


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """On SQLite, with an account and its administrator."""
    made = Installation(tmp_path / "data")
    made.create()
    return made


@pytest.fixture
def installation_on_postgres(
    postgres: Postgres, template: Installation, tmp_path: Path
) -> Iterator[Installation]:
    """Return a new installation on PostgreSQL."""
    directory = tmp_path / "data"
    shutil.copytree(template.directory, directory)
    url = postgres.new_database(template=template.database.rpartition("/")[2])
    # Without it, a crash takes the copy's sequences back to where the template's were.
    postgres.execute("CHECKPOINT")
    yield Installation(directory, database=url)
    postgres.drop_database(url)


@pytest.fixture(params=["installation", "installation_on_postgres"], ids=["sqlite", "postgresql"])
def any_installation(request: pytest.FixtureRequest) -> Installation:
    """On either engine."""
    installation: Installation = request.getfixturevalue(request.param)
    return installation
