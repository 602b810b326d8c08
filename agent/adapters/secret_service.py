"""The keyring on Linux: the Secret Service, by its D-Bus interface and nothing between.

Libraries for it bring a whole cryptography package into a program that runs all day. What they
encrypt is the way through the user's own bus, on which everybody who could listen may also ask the
keyring. Entries are those of Python's keyring library, so that both find what the other has kept.

Nothing waits without end: a prompt that nobody answers is a locked keyring, a service that says
nothing a missing one.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any

from jeepney import (
    DBusAddress,
    DBusErrorResponse,
    MatchRule,
    Properties,
    message_bus,
    new_method_call,
)
from jeepney.io.blocking import Proxy
from jeepney.wrappers import unwrap_msg

from agent.adapters.session_bus import BoundedConnection, connect
from agent.core.failure import Reason
from agent.ports import VaultError

CALL_TIMEOUT_S = 15.0
PROMPT_TIMEOUT_S = 60.0
PROMPT_AGAIN_S = 600.0
"""How long a user who did not unlock the keyring is left alone."""

APPLICATION = "coconowork client"
_BUS_NAME = "org.freedesktop.secrets"
_SERVICE = "/org/freedesktop/secrets"
_DEFAULT = "/org/freedesktop/secrets/aliases/default"
_INTERFACE = "org.freedesktop.Secret."
_NOTHING = "/"
"""As an object's path: there is none, or no prompt is needed."""
_NOT_THERE = {
    "org.freedesktop.Secret.Error.NoSuchObject",
    "org.freedesktop.DBus.Error.UnknownObject",
    "org.freedesktop.DBus.Error.UnknownMethod",
}


class SecretServiceKeyring:
    """Opens a connection for each call, so that a service that comes back is found.

    Raises VaultError when it is locked, else what jeepney raises.
    """

    def __init__(self, *, prompt_timeout_s: float = PROMPT_TIMEOUT_S) -> None:
        self._prompt_timeout_s = prompt_timeout_s
        self._not_before: float | None = None
        self._prompting: BoundedConnection | None = None
        self._over = False

    def get_password(self, service: str, user: str) -> str | None:
        with self._unlocked() as bus:
            for item in _search(bus, service, user):
                if _property(bus, item, "Item", "Locked"):
                    self._prompt(bus, item)
                session = _call(bus, _SERVICE, "Service", "OpenSession", "sv", "plain", ("s", ""))[
                    1
                ]
                ((_, _, secret, _),) = _call(bus, item, "Item", "GetSecret", "o", session)
                return bytes(secret).decode()
        return None

    def set_password(self, service: str, user: str, password: str) -> None:
        with self._unlocked() as bus:
            attributes = {"service": service, "username": user, "application": APPLICATION}
            properties = {
                f"{_INTERFACE}Item.Label": ("s", f"Password for '{user}' on '{service}'"),
                f"{_INTERFACE}Item.Attributes": ("a{ss}", attributes),
            }
            secret = (_session(bus), b"", password.encode(), "text/plain")
            item, prompt = _call(
                bus,
                _DEFAULT,
                "Collection",
                "CreateItem",
                "a{sv}(oayays)b",
                properties,
                secret,
                True,
            )
            if item == _NOTHING:
                self._wait_for_prompt(bus, prompt)

    def delete_password(self, service: str, user: str) -> None:
        """Nothing where there is none."""
        with self._unlocked() as bus:
            for item in _search(bus, service, user):
                (prompt,) = _call(bus, item, "Item", "Delete")
                if prompt != _NOTHING:
                    self._wait_for_prompt(bus, prompt)

    def stop_asking(self) -> None:
        """End a prompt that is open, and ask no more: the program ends. Any thread."""
        self._over = True
        connection = self._prompting
        if connection is not None:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    @contextmanager
    def _unlocked(self) -> Iterator[BoundedConnection]:
        """A connection, with the default collection unlocked. Raise VaultError."""
        with connect(CALL_TIMEOUT_S) as bus:
            # Not every service addresses the end of a prompt to whoever asked for it.
            prompts = MatchRule(type="signal", sender=_BUS_NAME, interface=f"{_INTERFACE}Prompt")
            Proxy(message_bus, bus).AddMatch(prompts)
            try:
                locked = _property(bus, _DEFAULT, "Collection", "Locked")
            except DBusErrorResponse as exc:
                if exc.name not in _NOT_THERE:
                    raise
                self._prompt(bus, None)
            else:
                if locked:
                    self._prompt(bus, _DEFAULT)
                else:
                    self._not_before = None
            yield bus

    def _prompt(self, bus: BoundedConnection, locked: str | None) -> None:
        """Have the user unlock what is there, or, for None, make a default collection."""
        too_soon = self._not_before is not None and monotonic() < self._not_before
        if self._over or too_soon:
            raise VaultError(Reason.VAULT_LOCKED, "the user was asked a short while ago")
        bus.allow(self._prompt_timeout_s)
        self._prompting = bus
        try:
            if not self._over:  # looked at again, now that `stop_asking` can see the connection
                self._ask(bus, locked)
        except (VaultError, TimeoutError, ConnectionError):
            self._not_before = monotonic() + PROMPT_AGAIN_S
            raise VaultError(Reason.VAULT_LOCKED, "the user did not unlock it") from None
        finally:
            self._prompting = None
        if self._over:
            raise VaultError(Reason.VAULT_LOCKED, "the program ends")
        self._not_before = None
        bus.allow(CALL_TIMEOUT_S)

    def _ask(self, bus: BoundedConnection, locked: str | None) -> None:
        """Raise VaultError when the user would not."""
        if locked is None:
            label = {f"{_INTERFACE}Collection.Label": ("s", "Default")}
            made, prompt = _call(
                bus, _SERVICE, "Service", "CreateCollection", "a{sv}s", label, "default"
            )
            if made == _NOTHING:
                self._wait_for_prompt(bus, prompt)
            return
        _, prompt = _call(bus, _SERVICE, "Service", "Unlock", "ao", [locked])
        if prompt != _NOTHING:
            self._wait_for_prompt(bus, prompt)
        interface = "Collection" if locked == _DEFAULT else "Item"
        if _property(bus, locked, interface, "Locked"):
            raise VaultError(Reason.VAULT_LOCKED, "still locked after the prompt")

    @staticmethod
    def _wait_for_prompt(bus: BoundedConnection, prompt: str) -> None:
        """Show it, and wait for its end. Raise VaultError when the user dismisses it."""
        interface = f"{_INTERFACE}Prompt"
        rule = MatchRule(type="signal", path=prompt, interface=interface, member="Completed")
        with bus.filter(rule) as completed:
            _call(bus, prompt, "Prompt", "Prompt", "s", "")
            dismissed, _ = bus.recv_until_filtered(completed).body
        if dismissed:
            raise VaultError(Reason.VAULT_LOCKED, "the user dismissed the prompt")


def _call(
    bus: BoundedConnection, path: str, interface: str, method: str, signature: str = "", *body: Any
) -> tuple[Any, ...]:
    """The answer's values. Raise DBusErrorResponse, TimeoutError or ConnectionError."""
    address = DBusAddress(path, _BUS_NAME, _INTERFACE + interface)
    reply = bus.send_and_get_reply(new_method_call(address, method, signature, body))
    values: tuple[Any, ...] = unwrap_msg(reply)
    return values


def _property(bus: BoundedConnection, path: str, interface: str, name: str) -> Any:
    address = DBusAddress(path, _BUS_NAME, _INTERFACE + interface)
    ((_, value),) = unwrap_msg(bus.send_and_get_reply(Properties(address).get(name)))
    return value


def _session(bus: BoundedConnection) -> str:
    """Under which secrets are handed over; it ends with the connection."""
    _, session = _call(bus, _SERVICE, "Service", "OpenSession", "sv", "plain", ("s", ""))
    return str(session)


def _search(bus: BoundedConnection, service: str, user: str) -> list[str]:
    wanted = {"service": service, "username": user}
    (items,) = _call(bus, _DEFAULT, "Collection", "SearchItems", "a{ss}", wanted)
    return list(items)
