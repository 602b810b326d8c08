"""Several nodes on one PostgreSQL, one process each."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.support.installation import Cluster, Installation
from tests.support.postgres import Postgres, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def cluster(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Start all nodes at once on an empty database, with one data folder and secret key.

    One node has both roles, the other two have one each.
    """
    installation = Installation(
        tmp_path_factory.mktemp("nodes") / "data", database=postgres.new_database()
    )
    roles = [
        {"ROLE": "gateway", "GATEWAY_NAME": "north"},
        {"ROLE": "console"},
        {"GATEWAY_NAME": "south"},
    ]
    with ExitStack() as stack, ThreadPoolExecutor(len(roles)) as threads:
        installation.directory.mkdir()
        north, console, south = threads.map(
            lambda settings: stack.enter_context(installation.serving(**settings)), roles
        )
        installation.create()
        yield Cluster(installation, [north, south], [console, south])
