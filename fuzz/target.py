"""Define fuzz targets, mutate their inputs, and prepare a process for thousands of inputs."""

from __future__ import annotations

import hashlib
import logging
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

SECRET = "hidden-w0rd"
"""The secret of the inputs, which no error and no log line may contain."""
_TOKENS: list[bytes] = [
    b"", b"\0", b"\xff", b"\n", b"\r\n", b",", b"=", b'"',
    b"\\", b"\\u0000", b"\\ud800", b"[", b"{",
    b"}", b"null", b"true", b"-1", b"0", b"1e999", b"9" * 5000, b"NaN", b"[" * 3000,
    b'{"a":' * 2000, b"9999-12-31T23:59:59Z", b"0001-01-01T00:00:00+23:59", b"A" * 20_000,
    "\u202e\u2066\u200b\ufeff".encode(), b"a\xcc\x81" * 100, "\U0001f600".encode(),
    b"\xed\xa0\x80", b"%s%n", b"../../", b"=cmd|' /C calc'!A0", b"i=600000", b"i=1", b"n,,", b"y,,",
    b"type", b"password", b"::ffff:1.2.3.4", b"Retry-After: ", b"https://", b"ws://", b"@",
]  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A part of the product to fuzz. `run` takes any bytes, and raises if an invariant is broken.

    `seeds` are valid inputs to mutate; `weight` is the target's share of all inputs.
    """

    name: str
    run: Callable[[bytes], None]
    seeds: Sequence[bytes]
    weight: int = 1
    max_bytes: int = 4096
    max_growth: int = 20_000
    """Most objects, such as caches, that the last four fifths of the inputs may leave behind."""


def as_text(data: bytes) -> str:
    """Decode bytes to any text, even with lone surrogates, as a terminal or JSON can have them."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace")


def pieces(data: bytes, count: int) -> list[bytes]:
    """Divide an input at its first zero bytes, so that mutated seeds stay readable."""
    return (data.split(b"\0", count - 1) + [b""] * count)[:count]


def texts(data: bytes, count: int) -> list[str]:
    """Divide an input as `pieces` does, and decode the parts."""
    return [as_text(piece) for piece in pieces(data, count)]


def glue(*parts: str | bytes) -> bytes:
    """Return the input that `pieces` divides into these parts."""
    return b"\0".join(part if isinstance(part, bytes) else part.encode() for part in parts)


def says_only(text: str, pattern: str) -> None:
    """Check that an error's text is exactly ours, without any part of the input."""
    assert re.fullmatch(pattern, text), text


def mutated(dice: random.Random, seeds: Sequence[bytes], max_bytes: int) -> bytes:
    """Return a seed with up to eight changes, or sometimes random bytes."""
    if dice.random() < 0.03:
        return dice.randbytes(dice.randrange(64))
    data = bytearray(dice.choice(seeds))
    for _ in range(dice.choice([0, 1, 1, 1, 2, 3, 8])):
        begin = dice.randrange(len(data) + 1)
        end = min(len(data), begin + dice.choice([0, 1, 2, 8, 64]))
        match dice.randrange(7):
            case 0 if begin < len(data):
                data[begin] ^= 1 << dice.randrange(8)
            case 1:
                data[begin:end] = dice.choice(_TOKENS)
            case 2:
                del data[begin:end]
            case 3:
                data[begin:begin] = data[begin:end] * dice.choice([1, 2, 30])
            case 4:
                del data[begin:]
            case 5:
                other = dice.choice(seeds)
                data[begin:] = other[dice.randrange(len(other) + 1) :]
            case _:
                data[begin:end] = dice.randbytes(end - begin)
    return bytes(data[:max_bytes])


class _Log(logging.Handler):
    """Search each log line for the secret."""

    def emit(self, record: logging.LogRecord) -> None:
        assert SECRET not in self.format(record), "a secret in the log"

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        raise  # noqa: PLE0704 - called while an exception is handled


def prepare() -> None:
    """Set up this process for thousands of inputs; do not use it for anything else afterwards.

    All log lines are searched for the secret, from DEBUG on. Key derivation takes one round instead
    of 0.3 s; targets check only the number of rounds that is asked for.
    """
    root = logging.getLogger()
    root.handlers = [_Log()]
    root.setLevel(logging.DEBUG)
    logging.captureWarnings(capture=True)
    original = hashlib.pbkdf2_hmac

    def one_round(name: str, password: bytes, salt: bytes, _: int, *more: Any) -> bytes:
        return original(name, password, salt, 1, *more)

    hashlib.pbkdf2_hmac = one_round  # type: ignore[assignment] # all callers pass by position
