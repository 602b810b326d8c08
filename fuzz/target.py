"""What a fuzz target is, and how bytes become what it eats."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

SECRET = "hidden-w0rd"
"""Put into inputs where a secret would be; no error text and no log line may have it."""


@dataclass(frozen=True)
class Target:
    """`run` eats one input, any bytes. It raises only when an invariant is broken.

    `seeds` are valid inputs to begin from; `weight` is the target's share of all inputs.
    """

    name: str
    run: Callable[[bytes], None]
    seeds: Sequence[bytes]
    weight: int = 1
    max_bytes: int = 4096


class Pieces:
    """Takes an input apart: text between `\\0` bytes, so that mutated seeds stay readable."""

    def __init__(self, data: bytes) -> None:
        self._parts = data.split(b"\0")

    def raw(self) -> bytes:
        """The next piece; nothing when there are no more."""
        return self._parts.pop(0) if self._parts else b""

    def text(self) -> str:
        """The next piece as text."""
        return as_text(self.raw())

    def rest(self) -> bytes:
        """All that is left."""
        rest, self._parts = b"\0".join(self._parts), []
        return rest


def as_text(data: bytes) -> str:
    """Any text can come out, also halves of surrogate pairs, as a terminal or JSON may bring."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace")


def glue(*parts: str | bytes) -> bytes:
    """An input that `Pieces` takes apart again."""
    return b"\0".join(part if isinstance(part, bytes) else part.encode() for part in parts)


def says_only(text: str, pattern: str) -> None:
    """The text of an error is one of ours, with nothing of the input in it."""
    assert re.fullmatch(pattern, text), text


class Log(logging.Handler):
    """Takes all that is logged instead of the screen, and looks for the secret in it."""

    def emit(self, record: logging.LogRecord) -> None:
        said = self.format(record)
        assert SECRET not in said, "a secret in the log"

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        raise  # noqa: PLE0704 - called while one is handled


def watch_log() -> None:
    """Have all logging of this process looked through, at the level that shows most."""
    root = logging.getLogger()
    root.handlers = [Log()]
    root.setLevel(logging.DEBUG)


def quick_keys() -> None:
    """Key derivation by one round, for the whole process: 0.3 s for each input is too slow.

    The number of rounds is judged before, and that is what the targets look at.
    """
    original = hashlib.pbkdf2_hmac

    def one_round(name: str, password: bytes, salt: bytes, _: int, *more: Any) -> bytes:
        return original(name, password, salt, 1, *more)

    hashlib.pbkdf2_hmac = one_round  # type: ignore[assignment] # positional where we call it
