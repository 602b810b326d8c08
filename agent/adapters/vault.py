"""The vault on the platform's keyring: one entry for each identity, and nothing anywhere else.

There is one backend for each platform, and no other can come in by a plug-in or a configuration
file: one that keeps passwords in a file or nowhere is no keyring.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Protocol

from agent.core.failure import Reason
from agent.core.record import Identity, Record, RecordError, decode_record, encode_record
from agent.ports import VaultError

log = logging.getLogger(__name__)

_LOCKED_ON_DBUS = {"org.freedesktop.Secret.Error.IsLocked"}
_MISSING_ON_DBUS = (
    "org.freedesktop.DBus.Error.",
    "org.freedesktop.Secret.Error.NoSession",
    "org.freedesktop.Secret.Error.NoSuchObject",
)


class Keyring(Protocol):
    """A store of passwords by service and user. May raise anything; `VaultError` is passed on."""

    def get_password(self, service: str, user: str) -> str | None:
        """None when there is no entry."""

    def set_password(self, service: str, user: str, password: str) -> None:
        """Replace the entry, durably on return."""

    def delete_password(self, service: str, user: str) -> None:
        """Deleting what is not there is no failure."""


class KeyringVault:
    """ports.Vault on `backend`, or on the platform's own. May be used from any thread."""

    def __init__(self, backend: Keyring | None = None) -> None:
        self._backend = backend
        self._one_at_a_time = Lock()

    def read(self, identity: Identity) -> Record | None:
        with self._keyring() as backend:
            return _read(backend, identity)

    def write(self, identity: Identity, record: Record) -> None:
        try:
            text = encode_record(record)
        except RecordError as exc:
            raise VaultError(Reason.VAULT_BROKEN, f"the entry cannot be kept: {exc}") from None
        with self._keyring() as backend:
            _make_way(backend, identity)
            backend.set_password(service_name(identity), identity.user, text)
            if backend.get_password(service_name(identity), identity.user) != text:
                raise VaultError(
                    Reason.VAULT_BROKEN, "the keyring does not give back what it was given"
                )

    def delete(self, identity: Identity) -> None:
        with self._keyring() as backend:
            backend.delete_password(service_name(identity), identity.user)

    def close(self) -> None:
        stop_asking = getattr(self._backend, "stop_asking", None)
        if stop_asking is not None:
            stop_asking()

    @contextmanager
    def _keyring(self) -> Iterator[Keyring]:
        with self._one_at_a_time:
            try:
                if self._backend is None:
                    self._backend = platform_keyring()
                yield self._backend
            except VaultError:
                raise
            except Exception as exc:  # noqa: BLE001 - backends let through whatever is below them
                raise _vault_error(exc) from None


def service_name(identity: Identity) -> str:
    """The entry's name, as the platform's own tools show it.

    User and server are both in it, for on Windows a name has one user. So is a digest, for Windows
    takes capital and small letters in a name for the same.
    """
    digest = hashlib.sha256(f"{identity.server}\n{identity.user}".encode()).hexdigest()[:8]
    return f"coconowork client: {identity.user} on {identity.server} ({digest})"


def platform_keyring() -> Keyring:
    """The one backend that is good enough here. Raise VaultError where there is none."""
    if sys.platform == "win32":
        from agent.adapters.credential_manager import CredentialManager

        return CredentialManager()
    if sys.platform == "linux":
        from agent.adapters.secret_service import SecretServiceKeyring

        return SecretServiceKeyring()
    raise VaultError(Reason.VAULT_MISSING, "no keyring for this platform")


def _read(backend: Keyring, identity: Identity) -> Record | None:
    text = backend.get_password(service_name(identity), identity.user)
    if text is None:
        return None
    try:
        return decode_record(text)
    except RecordError as exc:
        raise VaultError(Reason.VAULT_BROKEN, str(exc)) from None


def _make_way(backend: Keyring, identity: Identity) -> None:
    """An entry that cannot be read is replaced like any other, but not in silence."""
    try:
        _read(backend, identity)
    except (VaultError, UnicodeDecodeError) as exc:
        if isinstance(exc, VaultError) and exc.reason is not Reason.VAULT_BROKEN:
            raise
        log.warning("replacing a keyring entry that cannot be read")


def _vault_error(exc: Exception) -> VaultError:
    """Never the exception's own text: a backend may quote what it was given."""
    name = type(exc).__name__
    dbus_name = str(getattr(exc, "name", "")) if name == "DBusErrorResponse" else ""
    number = getattr(exc, "winerror", None)
    detail = " ".join(str(part) for part in (name, dbus_name, number) if part)
    if dbus_name in _LOCKED_ON_DBUS:
        reason = Reason.VAULT_LOCKED
    elif isinstance(exc, ConnectionError | TimeoutError) or dbus_name.startswith(_MISSING_ON_DBUS):
        reason = Reason.VAULT_MISSING
    else:
        reason = Reason.VAULT_BROKEN
    return VaultError(reason, detail)
