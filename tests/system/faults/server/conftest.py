"""Installations to break, on SQLite and on PostgreSQL, copied from such that are made once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.installation import Installation, Server
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


def on_sqlite(directory: Path) -> Installation:
    """Return a new installation with an account and its administrator."""
    made = Installation(directory)
    made.create()
    return made


@contextmanager
def on_postgres(
    postgres: Postgres, template: Installation, directory: Path
) -> Iterator[Installation]:
    """Yield such an installation on PostgreSQL."""
    shutil.copytree(template.directory, directory)
    url = postgres.new_database(template=template.database.rpartition("/")[2])
    # Without it, a crash takes the copy's sequences back to where the template's were.
    postgres.execute("CHECKPOINT")
    yield Installation(directory, database=url)
    postgres.drop_database(url)


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return on_sqlite(tmp_path / "data")


@pytest.fixture
def installation_on_postgres(
    postgres: Postgres, template: Installation, tmp_path: Path
) -> Iterator[Installation]:
    with on_postgres(postgres, template, tmp_path / "data") as made:
        yield made


@pytest.fixture(params=["installation", "installation_on_postgres"], ids=["sqlite", "postgresql"])
def any_installation(request: pytest.FixtureRequest) -> Installation:
    """On either engine."""
    installation: Installation = request.getfixturevalue(request.param)
    return installation


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Yield one server on either engine for the tests of a module, each with users of its own."""
    directory = tmp_path_factory.mktemp("server") / "data"
    if request.param == "sqlite":
        with on_sqlite(directory).serving() as running:
            yield running
        return
    postgres, template = (request.getfixturevalue(each) for each in ("postgres", "template"))
    with on_postgres(postgres, template, directory) as made, made.serving() as running:
        yield running
        assert "deadlock" not in postgres.log()
        assert "deadlock" not in running.logged()
