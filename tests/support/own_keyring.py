"""A Secret Service for one test, which may stop, start and lock it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import secretstorage

from demo.private_keyring import PrivateKeyring


@contextmanager
def started_keyring(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PrivateKeyring]:
    """Run a separate keyring in `folder`, and set this process's environment to it."""
    made = PrivateKeyring(folder)
    made.start()
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    try:
        yield made
    finally:
        made.stop()


def lock_keyring() -> None:
    """Lock the keyring of this process's environment."""
    with closing(secretstorage.dbus_init()) as bus:
        secretstorage.Collection(bus).lock()
