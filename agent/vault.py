"""The vault on the platform's keyring: one entry for each identity, and nothing anywhere else.

The backend is named, never chosen by keyring: one that keeps passwords in a file or nowhere must
not come in by a plug-in or a configuration file. The library, which takes its time to import, is
imported by the thread that first needs it, while others bring up the icon.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import TYPE_CHECKING

from agent.core.credentials import (
    Credentials,
    CredentialsError,
    Identity,
    decode_credentials,
    encode_credentials,
)
from agent.core.failure import Reason
from agent.ports import VaultError

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

log = logging.getLogger(__name__)

MAX_COPIES = 8
"""More entries of one name than any keyring of ours could hold."""

_LOCKED_ERRORS = {"LockedException", "PromptDismissedException"}
_MISSING_ERRORS = {"SecretServiceNotAvailableException", "ItemNotFoundException"}
_LOCKED_ON_DBUS = {"org.freedesktop.Secret.Error.IsLocked"}
_MISSING_ON_DBUS = ("org.freedesktop.DBus.Error.", "org.freedesktop.Secret.Error.NoSession")
_FAILED_ON_DBUS = "org.freedesktop.DBus.Error.Failed"
"""The service is there, and could not do it: its disk is full."""


class KeyringVault:
    """ports.Vault on `backend`, or on the platform's own. May be used from any thread."""

    def __init__(self, backend: KeyringBackend | None = None) -> None:
        self._backend = backend
        self._one_at_a_time = Lock()

    def read(self, identity: Identity) -> Credentials | None:
        with self._keyring() as backend:
            self._remove_stale(backend, identity)
            return _read(backend, identity)

    def write(self, identity: Identity, record: Credentials) -> None:
        try:
            text = encode_credentials(record)
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

    def close(self) -> None:
        stop_asking = getattr(self._backend, "stop_asking", None)
        if stop_asking is not None:
            stop_asking()

    @contextmanager
    def _keyring(self) -> Iterator[KeyringBackend]:
        with self._one_at_a_time:
            try:
                if self._backend is None:
                    self._backend = platform_keyring()
                yield self._backend
            except VaultError:
                raise
            except Exception as exc:  # noqa: BLE001 - backends let through whatever is below them
                raise _vault_error(exc) from None

    def _remove_stale(self, backend: KeyringBackend, identity: Identity) -> None:
        """WinVaultKeyring copies what it is about to replace to `user@service`, and leaves it.

        We never keep anything there, so whatever is there is an older copy.
        """
        if type(backend).__name__ == "WinVaultKeyring":
            service = service_name(identity)
            _delete(backend, f"{identity.user}@{service}", identity.user)


def service_name(identity: Identity) -> str:
    """The entry's name, as the platform's own tools show it.

    User and server are both in it: WinVaultKeyring gets in a muddle as soon as one name has two
    users. So is a digest, for Windows takes capital and small letters in a name for the same.
    """
    digest = hashlib.sha256(f"{identity.server}\n{identity.user}".encode()).hexdigest()[:8]
    return f"coconowork client: {identity.user} on {identity.server} ({digest})"


def platform_keyring() -> KeyringBackend:
    """The one backend that is good enough here. Raise NoKeyringError."""
    from keyring.errors import NoKeyringError

    makers: dict[str, Callable[[], KeyringBackend]] = {
        "linux": _secret_service,
        "win32": _credential_manager,
        "darwin": _keychain,
    }
    if sys.platform not in makers:
        raise NoKeyringError("no keyring for this platform")
    try:
        return makers[sys.platform]()
    except ImportError as exc:
        raise NoKeyringError(f"{exc.name} is missing") from None


def _secret_service() -> KeyringBackend:
    from agent.linux.secret_service import SecretServiceKeyring

    return SecretServiceKeyring()


def _credential_manager() -> KeyringBackend:
    from keyring.backends.Windows import WinVaultKeyring, missing_deps
    from keyring.errors import NoKeyringError

    if missing_deps:
        raise NoKeyringError("pywin32 is missing")
    backend = WinVaultKeyring()  # type: ignore[no-untyped-call] # keyring's has no types
    # keyring's default roams with the profile; this password belongs to this PC.
    backend.persist = "local machine"
    return backend


def _keychain() -> KeyringBackend:
    from keyring.backends.macOS import Keyring

    return Keyring()  # type: ignore[no-untyped-call] # keyring's has no types


def _read(backend: KeyringBackend, identity: Identity) -> Credentials | None:
    text = backend.get_password(service_name(identity), identity.user)
    if text is None:
        return None
    try:
        return decode_credentials(text)
    except CredentialsError as exc:
        raise VaultError(Reason.VAULT_BROKEN, str(exc)) from None


def _make_way(backend: KeyringBackend, identity: Identity) -> None:
    """An entry that cannot be read is replaced like any other, but not in silence."""
    try:
        _read(backend, identity)
    except VaultError:
        log.warning("replacing a keyring entry that cannot be read")
    except UnicodeDecodeError:
        # WinVaultKeyring would fail on it when it makes its copy.
        log.warning("removing a keyring entry that cannot be read")
        _delete(backend, service_name(identity), identity.user)


def _delete(backend: KeyringBackend, service: str, user: str) -> None:
    from keyring.errors import PasswordDeleteError

    for _ in range(MAX_COPIES):
        if not _is_there(backend, service, user):
            return
        # Gone in between is as good.
        with suppress(PasswordDeleteError):
            backend.delete_password(service, user)
    raise VaultError(Reason.VAULT_BROKEN, "the keyring does not delete the entry")


def _is_there(backend: KeyringBackend, service: str, user: str) -> bool:
    try:
        return backend.get_password(service, user) is not None
    except UnicodeDecodeError:
        return True


def _vault_error(exc: Exception) -> VaultError:
    """Never the exception's own text: a backend may quote what it was given."""
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
