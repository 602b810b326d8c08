"""Text from elsewhere is shown on one line, without what could mislead."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from protocol.text import clean, clip_utf16, utf16_units


@given(st.text(), st.integers(1, 50))
def test_clean_text_is_short_plain_and_on_one_line(text: str, limit: int) -> None:
    """No control, format, private, surrogate or unassigned character, and no more than asked."""
    cleaned = clean(text, limit)
    assert len(cleaned) <= limit
    assert not {unicodedata.category(c) for c in cleaned} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl"}
    assert "\n" not in cleaned
    cleaned.encode()


def test_examples() -> None:
    """Line breaks become spaces, direction overrides go, a cut is marked."""
    assert clean("PC\n 4711\t", 20) == "PC 4711"
    assert clean("a\x1b[31mb\u202ec\u200bd", 20) == "a[31mbcd"
    assert clean("営業部の田中のPC", 5) == "営業部の…"
    assert clean("x" * 1000, 3) == "xx…"
    assert clean("\r\n", 5) == ""
    assert clean("\u200b" * 15 + "ab", 4) == "a", "no more than four times the limit is looked at"


def test_marks_do_not_pile_up() -> None:
    """Accents, voiced kana and variants of a kanji stay; heaps of marks and blank letters go."""
    for kept in ("e\u0301", "か\u3099", "葛\U000e0100", "ệ", "ㅎ"):
        assert clean(kept, 10) == kept
    assert clean("a" + "\u0301" * 50 + "b", 90) == "a" + "\u0301" * 4 + "b"
    assert clean("a\u0301\u200b" * 3, 90) == "a\u0301" * 3
    assert clean("\u3164\u2800\u115f", 10) == ""


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 40))
def test_clip_keeps_whole_characters(text: str, units: int) -> None:
    """The longest beginning that fits; a character outside the BMP counts two and stays whole."""
    clipped = clip_utf16(text, units)
    assert text.startswith(clipped)
    assert utf16_units(clipped) <= units
    rest = text[len(clipped) :]
    assert not rest or utf16_units(clipped + rest[0]) > units


def test_units_are_those_of_windows() -> None:
    """A BMP character is one unit, an emoji two."""
    assert [utf16_units(text) for text in ("", "aあ", "😀")] == [0, 2, 2]
    assert clip_utf16("a😀", 2) == "a"
