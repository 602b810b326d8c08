"""Installations to break, on SQLite and PostgreSQL, copied from templates made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.installation import Installation, Server
from tests.support.postgres import Postgres, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Yield a PostgreSQL that tests may stop and kill, and must start again."""
    with running_postgres(fsync=True) as server:
        yield server


@pytest.fixture(scope="session")
def template(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Return the template of the installations on PostgreSQL."""
    folder = tmp_path_factory.mktemp("template")
    made = Installation(folder / "data", database=postgres.new_database())
    made.create()
    return made


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    made = Installation(tmp_path / "data")
    made.create()
    return made


@pytest.fixture
def installation_on_postgres(
    postgres: Postgres, template: Installation, tmp_path: Path
) -> Iterator[Installation]:
    with template.copied(tmp_path / "data", postgres) as made:
        yield made


@pytest.fixture(params=["installation", "installation_on_postgres"], ids=["sqlite", "postgresql"])
def any_installation(request: pytest.FixtureRequest) -> Installation:
    """Return a new installation on the parameter's database engine."""
    installation: Installation = request.getfixturevalue(request.param)
    return installation


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Yield one server per engine for the tests of a module, each with its own users."""
    directory = tmp_path_factory.mktemp("server") / "data"
    if request.param == "sqlite":
        made = Installation(directory)
        made.create()
        with made.serving() as running:
            yield running
        return
    postgres, template = (request.getfixturevalue(each) for each in ("postgres", "template"))
    with template.copied(directory, postgres) as made, made.serving() as running:
        yield running
        assert "deadlock" not in postgres.log()
        assert "deadlock" not in running.logged()
