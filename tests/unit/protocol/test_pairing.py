"""Test pairing codes as people type them, and the words of a key."""

from __future__ import annotations

import pytest

from protocol.messages import CODE_CHARS
from protocol.pairing import _WORDS, format_code, parse_code, words
from protocol.sealing import new_device_key, public_key

RIGHT = [
    "BCDF-2345", "bcdf2345", " bcdf 2345\n",
    "ｂｃｄｆ－２３４５", "BCDF‐2345", "ｂｃｄｆー２３４５",
    "BC DF\u200b23-45",
]  # fmt: skip
WRONG = [
    "", "BCDF234", "BCDF23456", "ACDF2345", "BCDF-234O", "B" * 5000, "BCDF2345" + "-" * 9,
]  # fmt: skip


@pytest.mark.parametrize("typed", RIGHT + WRONG)
def test_typed_codes(typed: str) -> None:
    """A code has eight characters of its alphabet; case, width, blanks, hyphens do not matter."""
    assert parse_code(typed) == ("BCDF2345" if typed in RIGHT else None)
    assert format_code("BCDF2345") == "BCDF-2345"


def test_words_depend_on_code_and_key() -> None:
    """PC and console get the same words; another key or code has others."""
    one, other = (public_key(new_device_key()) for _ in range(2))
    shown = words("BCDF2345", one)
    assert shown == words("BCDF2345", one)
    assert words("BCDF2345", other) != shown != words("BCDF2346", one)


def test_words_differ() -> None:
    """Each language has 64 different words."""
    assert len(_WORDS) == len({word.en for word in _WORDS}) == len({word.ja for word in _WORDS})
    assert len(_WORDS) == 64
    assert len(set(CODE_CHARS)) == len(CODE_CHARS) == 28
