"""Text of others is shown on one line, without characters that could mislead."""

from __future__ import annotations

from protocol.text import clean, clip_utf16, utf16_units


def test_examples() -> None:
    """Line breaks become spaces, direction overrides go, a cut is marked."""
    assert clean("PC\n 4711\t", 20) == "PC 4711"
    assert clean("a\x1b[31mb\u202ec\u200bd", 20) == "a[31mbcd"
    assert clean("営業部の田中のPC", 5) == "営業部の…"
    assert clean("x" * 1000, 3) == "xx…"
    assert clean("\r\n", 5) == ""
    assert clean("\u200b" * 15 + "ab", 4) == "a", "no more than four times the limit is looked at"


def test_marks_do_not_pile_up() -> None:
    """Accents, voiced kana and kanji variants stay; piled-up marks and blank letters go."""
    for kept in ("e\u0301", "か\u3099", "葛\U000e0100", "ệ", "ㅎ"):
        assert clean(kept, 10) == kept
    assert clean("a" + "\u0301" * 50 + "b", 90) == "a" + "\u0301" * 4 + "b"
    assert clean("a\u0301\u200b" * 3, 90) == "a\u0301" * 3
    assert clean("\u3164\u2800\u115f", 10) == ""


def test_units_are_those_of_windows() -> None:
    """Lengths count UTF-16 units, as Windows does: an emoji is two."""
    assert [utf16_units(text) for text in ("", "aあ", "😀")] == [0, 2, 2]
    assert [clip_utf16("a😀b", units) for units in range(5)] == ["", "a", "a", "a😀", "a😀b"]
