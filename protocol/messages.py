"""Encode and decode the messages of `coconowork.v1`, each a frozen struct.

Client and server import this module. docs/protocol.md says what each message means. msgspec checks
every field while it decodes, so what `decode_…` returns is well formed.
"""

from __future__ import annotations

import re
from datetime import datetime
from enum import Enum
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

SUBPROTOCOL = "coconowork.v1"
PATH = "/gateway"
MAX_MESSAGE_BYTES = 16 * 1024
MIN_ITERATIONS = 600_000
"""PBKDF2 rounds below which a client answers no challenge (RFC 5802's `i`)."""
MAX_ITERATIONS = 5_000_000
"""PBKDF2 rounds above which a client answers no challenge, because they take seconds of CPU."""

Scram = Annotated[str, Meta(min_length=1, max_length=2048)]
Hex32 = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
Bytes32 = Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/]{43}=\Z")]
"""A key or a signature of 32 bytes, in base64."""
Label = Annotated[str, Meta(max_length=128)]
UtcTime = Annotated[datetime, Meta(tz=True)]
Seconds = Annotated[int, Meta(ge=0, le=86_400)]
Days = Annotated[int, Meta(ge=0, le=36_500)]
PasswordKind = Literal["current", "old"]
Farewell = Literal["sleep", "shutdown", "sign_out", "update", "quit"]
"""Why a client leaves: the reason in its close frame (docs/protocol.md)."""
CODE_CHARS = "23456789BCDFGHJKMNPQRSTVWXYZ"
"""The characters of a pairing code: no vowels, which make words, and no similar ones."""


class MessageError(Exception):
    """The peer sent what `coconowork.v1` does not allow. The text never quotes the payload."""


class UnknownMessage(MessageError):
    """A well-formed message of a type that this version does not know."""


class Message(msgspec.Struct, frozen=True, tag_field="type", omit_defaults=True, kw_only=True):
    """Base of all messages; `type` on the wire is the struct's tag."""


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """The PC that connects: texts by which its user recognises it, and its public key."""

    id: Hex32
    public_key: Bytes32
    name: Label
    os: Label
    version: Label


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """A version of the client, and the address where a browser downloads it."""

    version: Annotated[str, Meta(pattern=r"^[0-9]{1,9}(\.[0-9]{1,9}){0,7}\Z")]
    url: Annotated[str, Meta(pattern=r"^https://[!-~]+\Z", max_length=512)]


# --- client to server


class Hello(Message, frozen=True, tag="hello"):
    """Begin a login, the first one or a further one on the same connection."""

    scram: Scram
    device: Device


class Pair(Message, frozen=True, tag="pair"):
    """Ask for a code by which a user hands this PC a password (`protocol/pairing.py`)."""

    device: Device


class Proof(Message, frozen=True, tag="proof"):
    """Answer the challenge with SCRAM's client-final."""

    scram: Scram


class WarningOutcome(Enum):
    """The outcome of a warning about an old password at a sign-in (docs/protocol.md)."""

    SHOWN = "shown"
    CLICKED = "clicked"
    DISMISSED = "dismissed"
    SUPPRESSED = "suppressed"
    UNSEEN = "unseen"
    FAILED = "failed"


class Notice(Message, frozen=True, tag="notice"):
    """The newest outcome of a warning about an old password at a sign-in."""

    warning: WarningOutcome
    days_left: Days


class UpdateFailed(Message, frozen=True, tag="update_failed"):
    """A pushed password could not be stored or used; the client goes on with its own."""

    change_id: Hex32
    reason: Literal["vault", "unreadable", "refused"]


# --- server to client


class Challenge(Message, frozen=True, tag="challenge"):
    """Answer a hello with SCRAM's server-first."""

    scram: Scram


class Welcome(Message, frozen=True, tag="welcome"):
    """The login is accepted. `valid_until` is set exactly when `password` is `old`."""

    scram: Scram
    password: PasswordKind
    server_time: UtcTime
    valid_until: UtcTime | None = None
    console_url: Annotated[str, Meta(max_length=512)] | None = None
    newest: Release | None = None

    def __post_init__(self) -> None:
        _check_deadline(self.password, self.valid_until)


class Rejected(Message, frozen=True, tag="rejected"):
    """The login is refused, or the login in force has ended."""

    reason: Literal["credentials", "expired", "disabled", "blocked", "throttled", "version"]
    retry_after_s: Seconds | None = None
    newest: Release | None = None


class PasswordChanged(Message, frozen=True, tag="password_changed"):
    """A new password for this device. `valid_until` is the time when the old password ends."""

    change_id: Hex32
    sealed: Annotated[str, Meta(min_length=64, max_length=8192)]
    valid_until: UtcTime
    signature: Bytes32 | None = None
    """Made by `sealing.push_signature`. A client accepts no push without it."""


class PairingCode(Message, frozen=True, tag="pairing_code"):
    """Answer a `pair` with the code that the PC shows."""

    code: Annotated[str, Meta(pattern=rf"^[{CODE_CHARS}]{{8}}\Z")]
    expires_in_s: Seconds


class Paired(Message, frozen=True, tag="paired"):
    """A user's name and sealed password, for the PC whose code the user has typed."""

    change_id: Hex32
    user: Annotated[str, Meta(min_length=1, max_length=64)]
    sealed: Annotated[str, Meta(min_length=64, max_length=8192)]


class PasswordStatus(Message, frozen=True, tag="password_status"):
    """The password of the login in force has become old, or its end has changed."""

    password: PasswordKind
    server_time: UtcTime
    valid_until: UtcTime | None = None

    def __post_init__(self) -> None:
        _check_deadline(self.password, self.valid_until)


class Bye(Message, frozen=True, tag="bye"):
    """The server is about to close the connection."""

    reason: Literal["superseded", "disabled", "blocked", "shutting_down"]
    retry_after_s: Seconds | None = None


class SealedPassword(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of a push's or pairing's `sealed`, which names its change and its device."""

    change_id: Hex32
    device_id: Hex32
    password: Annotated[str, Meta(min_length=1, max_length=1024)]

    def __repr__(self) -> str:
        return f"SealedPassword(change_id={self.change_id!r})"


ClientMessage = Hello | Pair | Proof | Notice | UpdateFailed
ServerMessage = (
    Challenge | Welcome | Rejected | PasswordChanged | PairingCode | Paired | PasswordStatus | Bye
)

_encoder = msgspec.json.Encoder()
_from_client: msgspec.json.Decoder[ClientMessage] = msgspec.json.Decoder(ClientMessage)
_from_server: msgspec.json.Decoder[ServerMessage] = msgspec.json.Decoder(ServerMessage)
_sealed = msgspec.json.Decoder(SealedPassword)


def encode(message: ClientMessage | ServerMessage | SealedPassword) -> bytes:
    """Return the message as JSON in UTF-8, without line breaks."""
    return _encoder.encode(message)


def decode_from_client(data: bytes) -> ClientMessage:
    """Return a client's message. Raise MessageError for other data, or more than 16 KiB."""
    return _decode(_from_client, data)


def decode_from_server(data: bytes) -> ServerMessage:
    """Return a server's message. Raise MessageError for other data, or more than 16 KiB.

    UnknownMessage marks a type of a later minor version, which a client ignores.
    """
    return _decode(_from_server, data)


def decode_sealed(data: bytes) -> SealedPassword:
    """Return the content of a sealed box. Raise MessageError when `data` is something else."""
    return _decode(_sealed, data)


_T = TypeVar("_T")


def _decode(decoder: msgspec.json.Decoder[_T], data: bytes) -> _T:
    if len(data) > MAX_MESSAGE_BYTES:
        raise MessageError(f"message of {len(data)} bytes, {MAX_MESSAGE_BYTES} are allowed")
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as exc:
        # msgspec's text may quote the input, but the path at its end has our own names only.
        path = re.search(r"`(\$[\w.]*)`\Z", str(exc))
        where = f" at {path[1]}" if path else ""
        if str(exc).startswith("Invalid value") and where == " at $.type":
            raise UnknownMessage("message of an unknown type") from None
        raise MessageError(f"malformed message{where}") from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise MessageError("message that is not JSON") from None


def _check_deadline(password: PasswordKind, valid_until: datetime | None) -> None:
    if (password == "old") != (valid_until is not None):
        raise ValueError("`valid_until` belongs to `old` and to nothing else")
