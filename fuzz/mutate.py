"""Mutates valid inputs: the short form of the fuzzers, in the test's own process."""

from __future__ import annotations

import random
from collections.abc import Sequence

TOKENS: list[bytes] = [
    b"", b"\0", b"\xff", b"\n", b"\r\n", b",", b"=", b'"',
    b"\\", b"\\u0000", b"\\ud800", b"[", b"{",
    b"}", b"null", b"true", b"-1", b"0", b"1e999", b"9" * 5000, b"NaN", b"[" * 3000,
    b'{"a":' * 2000, b"9999-12-31T23:59:59Z", b"0001-01-01T00:00:00+23:59", b"A" * 20_000,
    "\u202e\u2066\u200b\ufeff".encode(), b"a\xcc\x81" * 100, "\U0001f600".encode(),
    b"\xed\xa0\x80", b"%s%n", b"../../", b"=cmd|' /C calc'!A0", b"i=600000", b"i=1", b"n,,", b"y,,",
    b"type", b"password", b"::ffff:1.2.3.4", b"Retry-After: ", b"https://", b"ws://", b"@",
]  # fmt: skip


def mutated(dice: random.Random, seeds: Sequence[bytes], max_bytes: int) -> bytes:
    """A seed, changed in one to a few places; now and then noise alone."""
    if dice.random() < 0.03:
        return dice.randbytes(dice.randrange(64))
    data = bytearray(dice.choice(seeds))
    for _ in range(dice.choice([0, 1, 1, 1, 2, 3, 8])):
        begin = dice.randrange(len(data) + 1)
        end = min(len(data), begin + dice.choice([0, 1, 2, 8, 64]))
        match dice.randrange(7):
            case 0 if data and begin < len(data):
                data[begin] ^= 1 << dice.randrange(8)
            case 1:
                data[begin:end] = dice.choice(TOKENS)
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
