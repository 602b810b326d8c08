"""What the vault holds for one identity: passwords and the device's private key.

The entry is one value, which the vault replaces in one write. So no change is ever half done.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from protocol.messages import Bytes32
from protocol.text import utf16_units

MAX_UTF16_UNITS = 1280  # Windows' Credential Manager keeps 2,560 bytes of UTF-16 in an entry

Refusal = Literal["credentials", "expired"]


class CredentialsError(Exception):
    """The entry in the vault is not from this program, or no vault can hold the entry."""


class Identity(msgspec.Struct, frozen=True, order=True):
    """A user on a server. `server` is a normalised `wss://` (on loopback `ws://`) address."""

    server: str
    user: str


NO_IDENTITY = Identity(server="", user="")  # the account in use before the first login


class Pending(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A pushed password that no login has proved yet."""

    change_id: str
    password: str
    refused: bool = False  # by the server; then the password is never sent again automatically

    def __repr__(self) -> str:
        return f"Pending(change_id={self.change_id!r})"


class Credentials(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of the vault. Its repr shows no secret."""

    password: Annotated[str, Meta(min_length=1)]
    device_key: Bytes32
    pending: Pending | None = None
    refused: Refusal | None = None
    """Why the server has refused `password`; then it is never sent again automatically."""
    machine: Annotated[str, Meta(max_length=64)] = ""
    """The `HostInfo.machine` of the PC that made `device_key`; empty when that PC had none."""
    version: Literal[1] = 1

    def is_copied_to(self, machine: str) -> bool:
        """Return whether another PC has made the device key: its disk was copied to this one."""
        return "" not in {machine, self.machine} and machine != self.machine

    def usable(self) -> list[str]:
        """Return the passwords that the server has not refused, a pushed password first."""
        pushed = [self.pending.password] if self.pending and not self.pending.refused else []
        return pushed if self.refused else [*pushed, self.password]

    def encode(self) -> str:
        """Return the text to store. Raise CredentialsError when a vault cannot hold it."""
        try:
            text = msgspec.json.encode(self).decode()
        except UnicodeEncodeError:  # half a surrogate pair, as a terminal may deliver
            raise CredentialsError("characters that are not text") from None
        if utf16_units(text) > MAX_UTF16_UNITS:
            raise CredentialsError(f"more than {MAX_UTF16_UNITS} UTF-16 units")
        return text

    @classmethod
    def decode(cls, text: str) -> Credentials:
        """Return the entry that `text` holds, else raise CredentialsError, which quotes nothing."""
        try:
            return msgspec.json.decode(text, type=cls)
        except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError):
            raise CredentialsError("not an entry of this program") from None

    def __repr__(self) -> str:
        return f"Credentials(pending={self.pending!r}, refused={self.refused!r})"
