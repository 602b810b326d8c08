"""keyring's backend for the Secret Service. It asks the user to unlock it, but not too often."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import secretstorage
from keyring.backends.SecretService import Keyring
from keyring.errors import InitError, KeyringLocked
from secretstorage.exceptions import ItemNotFoundException

PROMPT_AGAIN_S = 600.0  # seconds after an unanswered prompt before the user is asked again


class SecretServiceKeyring(Keyring):
    """Open a connection for each call, so that a restarted service is found."""

    appid = "coconowork client"
    has_asked_user = False  # whether the user was asked since the caller set this to False

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # keyring's has no types
        self._not_before = 0.0

    def get_preferred_collection(self) -> Any:
        """Return the default collection, unlocked. Raise KeyringLocked or InitError.

        The caller closes the collection's connection.
        """
        try:
            connection = secretstorage.dbus_init()
        except (OSError, RuntimeError, ValueError):  # there is no bus at the address
            raise InitError("no session bus") from None
        try:
            try:
                collection = secretstorage.Collection(connection)
            except ItemNotFoundException:
                with self._asking():
                    collection = secretstorage.create_collection(connection, "Default", "default")
            self.unlock(collection)
        except BaseException:
            connection.close()
            raise
        self._not_before = 0.0
        return collection

    def unlock(self, item: Any) -> None:
        """Unlock a collection, or one item: some services lock each item."""
        if item.is_locked():
            with self._asking():
                if item.unlock() or item.is_locked():
                    raise KeyringLocked("locked; the user did not unlock it")

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Guard a prompt. Raise KeyringLocked within PROMPT_AGAIN_S of a failed prompt."""
        if monotonic() < self._not_before:
            raise KeyringLocked("locked; the user was asked a short while ago")
        self._not_before = monotonic() + PROMPT_AGAIN_S
        self.has_asked_user = True
        yield
        self._not_before = 0.0
