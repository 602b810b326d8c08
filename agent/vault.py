"""The vault on the platform's keyring: one entry for each identity, and nothing anywhere else.

`agent.desktop` names the backend. keyring's own choice is never used: a plug-in or a configuration
file could make that a backend that keeps passwords in a file or nowhere. The library is imported at
the first call, on the thread that makes the call, while other threads bring up the icon.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from agent.core.credentials import Credentials, CredentialsError, Identity
from agent.core.failure import Reason
from agent.ports import VaultError

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

log = logging.getLogger(__name__)

MAX_COPIES = 8  # entries to delete: a Secret Service can hold several with one name

_LOCKED_ERRORS = {"LockedException", "PromptDismissedException"}
_MISSING_ERRORS = {"SecretServiceNotAvailableException", "ItemNotFoundException"}
_LOCKED_ON_DBUS = {"org.freedesktop.Secret.Error.IsLocked"}
_MISSING_ON_DBUS = ("org.freedesktop.DBus.Error.", "org.freedesktop.Secret.Error.NoSession")
_FAILED_ON_DBUS = "org.freedesktop.DBus.Error.Failed"  # the service runs, perhaps on a full disk


class KeyringVault:
    """Keep entries in a keyring, which `open_keyring` opens once. Implement `agent.ports.Vault`."""

    def __init__(self, open_keyring: Callable[[], KeyringBackend]) -> None:
        self._open_keyring = open_keyring
        self._backend: KeyringBackend | None = None

    @property
    def has_asked_user(self) -> bool:
        return bool(getattr(self._backend, "has_asked_user", False))

    def read(self, identity: Identity) -> Credentials | None:
        with self._keyring() as backend:
            self._remove_stale(backend, identity)
            return _read(backend, identity)

    def write(self, identity: Identity, record: Credentials) -> None:
        try:
            text = record.encode()
        except CredentialsError as exc:
            raise VaultError(Reason.VAULT_BROKEN, f"the entry cannot be kept: {exc}") from None
        with self._keyring() as backend:
            _make_way(backend, identity)
            backend.set_password(service_name(identity), identity.user, text)
            if backend.get_password(service_name(identity), identity.user) != text:
                raise VaultError(
                    Reason.VAULT_BROKEN, "the keyring does not give back what it was given"
                )
            self._remove_stale(backend, identity)

    def delete(self, identity: Identity) -> None:
        with self._keyring() as backend:
            _delete(backend, service_name(identity), identity.user)
            self._remove_stale(backend, identity)

    @contextmanager
    def _keyring(self) -> Iterator[KeyringBackend]:
        try:
            if self._backend is None:
                self._backend = self._open_keyring()
            if hasattr(self._backend, "has_asked_user"):
                self._backend.has_asked_user = False
            yield self._backend
        except VaultError:
            raise
        except Exception as exc:  # noqa: BLE001 - backends raise whatever the layers below raise
            raise _vault_error(exc) from None

    def _remove_stale(self, backend: KeyringBackend, identity: Identity) -> None:
        """Delete the copy of a replaced entry that WinVaultKeyring leaves at `user@service`."""
        if type(backend).__name__ == "WinVaultKeyring":
            service = service_name(identity)
            _delete(backend, f"{identity.user}@{service}", identity.user)


def service_name(identity: Identity) -> str:
    """Return the entry's name, as the platform's own tools show it.

    The name holds user and server, because WinVaultKeyring mixes up two users of one name. It also
    holds a digest, because Windows ignores the case of letters in a name.
    """
    digest = hashlib.sha256(f"{identity.server}\n{identity.user}".encode()).hexdigest()[:8]
    return f"coconowork client: {identity.user} on {identity.server} ({digest})"


def _read(backend: KeyringBackend, identity: Identity) -> Credentials | None:
    text = backend.get_password(service_name(identity), identity.user)
    if text is None:
        return None
    try:
        return Credentials.decode(text)
    except CredentialsError as exc:
        raise VaultError(Reason.VAULT_BROKEN, str(exc)) from None


def _make_way(backend: KeyringBackend, identity: Identity) -> None:
    """Log that an unreadable entry is about to be replaced; delete the entry if need be."""
    try:
        _read(backend, identity)
    except VaultError:
        log.warning("replacing a keyring entry that cannot be read")
    except UnicodeDecodeError:
        # WinVaultKeyring copies an entry before it replaces it, and would fail on this entry.
        log.warning("removing a keyring entry that cannot be read")
        _delete(backend, service_name(identity), identity.user)


def _delete(backend: KeyringBackend, service: str, user: str) -> None:
    from keyring.errors import PasswordDeleteError

    for _ in range(MAX_COPIES):
        with suppress(UnicodeDecodeError):  # there is an entry
            if backend.get_password(service, user) is None:
                return
        # Another program may have deleted the entry in between.
        with suppress(PasswordDeleteError):
            backend.delete_password(service, user)
    raise VaultError(Reason.VAULT_BROKEN, "the keyring does not delete the entry")


def _vault_error(exc: Exception) -> VaultError:
    """Return the VaultError for an exception, without its text, which may quote a password."""
    from keyring.errors import InitError, KeyringLocked, NoKeyringError

    name = type(exc).__name__
    dbus_name = str(getattr(exc, "name", "")) if name == "DBusErrorResponse" else ""
    number = getattr(exc, "winerror", None)
    detail = " ".join(str(part) for part in (name, dbus_name, number) if part)
    if isinstance(exc, KeyringLocked) or name in _LOCKED_ERRORS or dbus_name in _LOCKED_ON_DBUS:
        reason = Reason.VAULT_LOCKED
    elif (
        isinstance(exc, NoKeyringError | InitError | ConnectionError | TimeoutError)
        or name in _MISSING_ERRORS
        or (dbus_name.startswith(_MISSING_ON_DBUS) and dbus_name != _FAILED_ON_DBUS)
    ):
        reason = Reason.VAULT_MISSING
    else:
        reason = Reason.VAULT_BROKEN
    return VaultError(reason, detail)
