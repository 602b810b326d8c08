"""What the vault holds for one user on one server: passwords and the device's key.

It is one value, so that the vault replaces it in one write: a password is never half changed.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from protocol.messages import PasswordChanged
from protocol.sealing import open_sealed
from protocol.text import utf16_units

MAX_UTF16_UNITS = 1280
"""Windows' Credential Manager keeps 2,560 bytes of UTF-16 in an entry."""

Refusal = Literal["credentials", "expired"]


class CredentialsError(Exception):
    """The vault's entry is not one of ours, or cannot be kept in a vault."""


class Identity(msgspec.Struct, frozen=True, order=True):
    """Who logs in where. `server` is a normalised `wss://` (on loopback `ws://`) address."""

    server: str
    user: str


class Pending(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A pushed password that has not been proven by a login yet."""

    change_id: str
    password: str
    refused: bool = False
    """The server has refused it too; it is not sent again by itself."""

    def __repr__(self) -> str:
        return f"Pending(change_id={self.change_id!r})"


class Credentials(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Frozen; `msgspec.structs.replace` makes the next one. `repr` shows no secret.

    `refused` is set when the server has refused `password`: it is not sent again by itself.
    """

    password: Annotated[str, Meta(min_length=1)]
    device_key: Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/]{43}=\Z")]
    pending: Pending | None = None
    refused: Refusal | None = None
    version: Literal[1] = 1

    def __repr__(self) -> str:
        return f"Credentials(pending={self.pending!r}, refused={self.refused!r})"


def encode_credentials(record: Credentials) -> str:
    """The vault's text. Raise CredentialsError when a vault could not keep it."""
    try:
        text = msgspec.json.encode(record).decode()
    except UnicodeEncodeError:  # half a surrogate pair, as a terminal may deliver
        raise CredentialsError("characters that are not text") from None
    if utf16_units(text) > MAX_UTF16_UNITS:
        raise CredentialsError(f"more than {MAX_UTF16_UNITS} UTF-16 units")
    return text


def decode_credentials(text: str) -> Credentials:
    """Raise CredentialsError, which quotes nothing, when the text is not a record."""
    try:
        return msgspec.json.decode(text, type=Credentials)
    except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError):
        raise CredentialsError("not an entry of this program") from None


def open_push(push: PasswordChanged, device_key: str) -> Pending:
    """Return the new password in a push. Raise SealError when it is not for this device."""
    sealed = open_sealed(push, device_key=device_key)
    return Pending(change_id=sealed.change_id, password=sealed.password)
