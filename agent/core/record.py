"""What the vault holds for one user on one server: passwords and the device's key.

It is one value, so that the vault replaces it in one write: a password is never half changed.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox

from agent.core.messages import MessageError, PasswordChanged, decode_sealed
from agent.core.text import utf16_units

MAX_UTF16_UNITS = 1280
"""Windows' Credential Manager keeps 2,560 bytes of UTF-16 in an entry."""

Refusal = Literal["credentials", "expired"]


class RecordError(Exception):
    """The vault's entry is not one of ours, or cannot be kept in a vault."""


class SealError(Exception):
    """A pushed password cannot be opened, or is meant for another change or device."""


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


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Frozen; `msgspec.structs.replace` makes the next one. `repr` shows no secret.

    `refused` is set when the server has refused `password`: it is not sent again by itself.
    """

    password: Annotated[str, Meta(min_length=1)]
    device_key: Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/]{43}=\Z")]
    pending: Pending | None = None
    refused: Refusal | None = None
    version: Literal[1] = 1

    def __repr__(self) -> str:
        return f"Record(pending={self.pending!r}, refused={self.refused!r})"


def new_device_key() -> str:
    """A fresh X25519 private key, base64."""
    return b64encode(bytes(PrivateKey.generate())).decode()


def public_key(device_key: str) -> str:
    """The public half of a device key, base64."""
    return b64encode(bytes(PrivateKey(b64decode(device_key)).public_key)).decode()


def device_id(public_key: str) -> str:
    """The id that belongs to a public key (docs/protocol.md, `device`)."""
    return hashlib.sha256(b64decode(public_key)).hexdigest()[:32]


def encode_record(record: Record) -> str:
    """The vault's text. Raise RecordError when a vault could not keep it."""
    try:
        text = msgspec.json.encode(record).decode()
    except UnicodeEncodeError:  # half a surrogate pair, as a terminal may deliver
        raise RecordError("characters that are not text") from None
    if utf16_units(text) > MAX_UTF16_UNITS:
        raise RecordError(f"more than {MAX_UTF16_UNITS} UTF-16 units")
    return text


def decode_record(text: str) -> Record:
    """Raise RecordError, which quotes nothing, when the text is not a record."""
    try:
        return msgspec.json.decode(text, type=Record)
    except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError):
        raise RecordError("not an entry of this program") from None


def open_push(message: PasswordChanged, device_key: str) -> Pending:
    """The new password in a push. Raise SealError when it is not for this device."""
    key = PrivateKey(b64decode(device_key))
    try:
        plain = SealedBox(key).decrypt(b64decode(message.sealed, validate=True))
        sealed = decode_sealed(plain)
    except (CryptoError, ValueError, MessageError):
        raise SealError("the sealed password cannot be opened") from None
    if sealed.change_id != message.change_id:
        raise SealError("the sealed password belongs to another change")
    if sealed.device_id != device_id(public_key(device_key)):
        raise SealError("the sealed password belongs to another device")
    return Pending(change_id=sealed.change_id, password=sealed.password)
