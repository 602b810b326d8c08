"""keyring's backend for the Secret Service, with deadlines.

A prompt that the user does not answer in time counts as a locked keyring (KeyringLocked), a service
that does not answer as a missing one (TimeoutError).
"""

from __future__ import annotations

import socket
from contextlib import suppress
from time import monotonic
from typing import Any

import secretstorage
from keyring.backends.SecretService import Keyring
from keyring.errors import KeyringLocked
from secretstorage.exceptions import ItemNotFoundException, PromptDismissedException
from secretstorage.util import add_match_rules

from agent.linux.session_bus import BoundedConnection, connect

CALL_TIMEOUT_S = 15.0
PROMPT_TIMEOUT_S = 60.0
PROMPT_AGAIN_S = 600.0
"""Seconds after an unanswered prompt before the user is asked again."""


class SecretServiceKeyring(Keyring):
    """Open a connection for each call, so that a restarted service is found."""

    appid = "coconowork client"
    has_asked_user = False
    """Whether the user was asked to unlock since the caller has last set this to False."""

    def __init__(self, *, prompt_timeout_s: float = PROMPT_TIMEOUT_S) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # keyring's has no types
        self._prompt_timeout_s = prompt_timeout_s
        self._not_before: float | None = None
        self._prompting: BoundedConnection | None = None
        self._over = False

    def stop_asking(self) -> None:
        """End an open prompt and open no other; called on any thread when the program ends."""
        self._over = True
        connection = self._prompting
        if connection is not None:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def get_preferred_collection(self) -> Any:
        """Return the default collection, unlocked. Raise KeyringLocked.

        The caller closes the collection's connection.
        """
        connection = connect(CALL_TIMEOUT_S)
        try:
            add_match_rules(connection)
            try:
                collection = secretstorage.Collection(connection)
            except ItemNotFoundException:
                collection = self._prompt(connection, create=True)
            if collection.is_locked():
                self._prompt(connection, collection)
            else:
                self._not_before = None
        except BaseException:
            connection.close()
            raise
        return collection

    def unlock(self, item: Any) -> None:
        """Unlock one item: some services lock items singly. Raise KeyringLocked."""
        if item.is_locked():
            self._prompt(item.connection, item)

    def _prompt(
        self, connection: BoundedConnection, locked: Any = None, *, create: bool = False
    ) -> Any:
        too_soon = self._not_before is not None and monotonic() < self._not_before
        if self._over or too_soon:
            raise KeyringLocked("locked; the user was asked a short while ago")
        connection.allow(self._prompt_timeout_s)
        self.has_asked_user = True
        dismissed = False
        self._prompting = connection
        try:
            if self._over:  # `stop_asking` may have run before it could see the connection
                dismissed = True
            elif create:
                locked = secretstorage.create_collection(connection, "Default", "default")
            else:
                dismissed = locked.unlock() or locked.is_locked()
        except (PromptDismissedException, TimeoutError, ConnectionError):
            dismissed = True
        finally:
            self._prompting = None
        if dismissed:
            self._not_before = monotonic() + PROMPT_AGAIN_S
            raise KeyringLocked("locked; the user did not unlock it")
        self._not_before = None
        connection.allow(CALL_TIMEOUT_S)
        return locked
