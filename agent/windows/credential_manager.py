"""keyring's backend for Windows' Credential Manager."""

from __future__ import annotations

from keyring.backends.Windows import WinVaultKeyring, missing_deps
from keyring.errors import NoKeyringError


def open_credential_manager() -> WinVaultKeyring:
    """Return the backend. Raise NoKeyringError when pywin32 is missing."""
    if missing_deps:
        raise NoKeyringError("pywin32 is missing")
    backend = WinVaultKeyring()  # type: ignore[no-untyped-call] # keyring's has no types
    # keyring's default roams with the user's profile; this password belongs to this PC.
    backend.persist = "local machine"
    return backend
