"""What all tests share. Nothing here is for one platform only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def no_settings_of_the_developer() -> Iterator[None]:
    """No test sees what the machine has set for the client or the server."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("COCONOWORK_"):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def keyring_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment that leads to a real Secret Service of the tests' own."""
    from server.demo_keyring import private_keyring

    directory: Path = tmp_path_factory.mktemp("keyring")
    with private_keyring(directory) as environment:
        yield environment
