"""The messages between a dialog and the client: JSON, one line each, over the dialog's pipes.

The client sends Open first. A password travels in Submit only, from the dialog to the client. A
password that comes by a code (pairing) is never sent to a dialog.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

T = TypeVar("T")

MAX_LINE = 65_536  # bytes

Name = Literal["password", "status", "log_out", "about"]
Field = Literal["server", "user", "password"]
MAX_TEXT = 2048
Text = Annotated[str, Meta(max_length=MAX_TEXT)]


class Button(msgspec.Struct, frozen=True):
    """A button that sends `command`, the value of a Command. `&` in `text` marks Alt's letter."""

    text: str
    command: str
    enabled: bool = True


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a window, in the user's language. `picture` is a file in `agent/assets/`."""

    picture: str
    headline: str
    title: str = "coconowork client"
    notes: list[str] = []  # in the colour of warnings
    lines: list[str] = []
    rows: list[tuple[str, str]] = []
    buttons: list[Button] = []  # those beside "Close"


class Open(msgspec.Struct, frozen=True, kw_only=True, tag="open"):
    """client → dialog, once, first: what the window shows.

    The password window takes all fields but `snapshot`, which is for the others. `first`: ask
    for server and user too, as at the first log-in, and offer a code. Fields in `fixed` cannot be
    changed. A `quiet` window does not take the keyboard focus.
    """

    server: str = ""
    user: str = ""
    first: bool = False
    fixed: list[str] = []
    notes: list[str] = []
    console_url: str | None = None
    rows: list[tuple[str, str]] = []
    snapshot: Snapshot | None = None
    quiet: bool = False


class Update(msgspec.Struct, frozen=True, tag="update"):
    """client → dialog: the state has changed."""

    snapshot: Snapshot


class Front(msgspec.Struct, frozen=True, tag="front"):
    """client → dialog: come to the front, because the user has asked for this window again."""


class Accepted(msgspec.Struct, frozen=True, tag="accepted"):
    """client → dialog: the password is right, and stored."""


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """client → dialog: nothing was changed; `text` says why, to be shown at `field`."""

    text: str
    field: Field = "password"


class ShowCode(msgspec.Struct, frozen=True, tag="show_code"):
    """client → dialog: the code of this PC, and the words in the user's language."""

    code: str
    words: list[str]
    expires_in_s: int


class Question(msgspec.Struct, frozen=True, tag="question"):
    """client → dialog: this user has typed the code; shall the PC connect as this user?"""

    user: str


class CodeEnded(msgspec.Struct, frozen=True, tag="code_ended"):
    """client → dialog: the code has ended, or there is none; nothing was changed."""

    text: str


class Submit(msgspec.Struct, frozen=True, tag="submit"):
    """dialog → client: log in with this password, and store it."""

    server: Text
    user: Text
    password: Text

    def __repr__(self) -> str:
        return "Submit(…)"


class AskCode(msgspec.Struct, frozen=True, tag="ask_code"):
    """dialog → client: get a code from this server."""

    server: Text


class Confirm(msgspec.Struct, frozen=True, tag="confirm"):
    """dialog → client: connect as the user of the Question."""


class DropCode(msgspec.Struct, frozen=True, tag="drop_code"):
    """dialog → client: forget the code. Closing the window does the same."""


class Picked(msgspec.Struct, frozen=True, tag="picked"):
    """dialog → client: a button was pressed; `command` is the value of a Command."""

    command: Text


FromClient = Open | Update | Front | Accepted | Refused | ShowCode | Question | CodeEnded
FromDialog = Submit | AskCode | Confirm | DropCode | Picked
FROM_CLIENT: msgspec.json.Decoder[FromClient] = msgspec.json.Decoder(FromClient)
FROM_DIALOG: msgspec.json.Decoder[FromDialog] = msgspec.json.Decoder(FromDialog)


class PipeError(Exception):
    """The line is not a message that the other side may send."""


def encode(message: FromClient | FromDialog) -> bytes:
    """Return the message as a line of JSON."""
    return msgspec.json.encode(message) + b"\n"


def decode(line: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Return the message in `line`. Raise PipeError, which quotes nothing."""
    try:
        return decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise PipeError("not a message of the other side") from None
