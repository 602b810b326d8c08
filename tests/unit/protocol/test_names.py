"""User names and passwords are printable ASCII, and typed text is normalised to it."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from protocol.names import is_name, is_password, normalise_name, normalise_password

PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))


def test_the_limits_of_docs_protocol() -> None:
    """Names have 1 to 64 characters, passwords 1 to 1,024, all printable ASCII."""
    for check, most in ((is_name, 64), (is_password, 1024)):
        assert check("a")
        assert check(PRINTABLE[:64])
        assert check(PRINTABLE[-64:])
        assert check("x" * most)
        assert not check("")
        assert not check("x" * (most + 1))


@given(st.text(min_size=1, max_size=64))
def test_only_printable_ascii_is_taken(text: str) -> None:
    """Text with a character beyond printable ASCII is neither a name nor a password."""
    right = set(text) <= set(PRINTABLE)
    assert is_name(text) is is_password(text) is right


TYPED = {
    "tanaka": [
        "ｔａｎａｋａ", "ta\u200bna\ufeffka", "tanaka\r\n", "\n\rtanaka", "tanaka\t",
        "\ttanaka\r\n", "tanaka\u2028",
    ],
    "Pass/1": ["Ｐａｓｓ／１"],
    " tanaka ": [" tanaka ", "\u3000tanaka\u00a0"],
    "tanaka ": ["ta\u00adna\u2060ka\u00a0"],
    "office": ["o\N{LATIN SMALL LIGATURE FFI}ce"],
    "ta\nka": ["ta\nka"],
    "": [""],
}  # fmt: skip


def test_what_people_type_and_paste() -> None:
    """Full-width letters become ASCII, invisible characters go; a password keeps its blanks."""
    for password, texts in TYPED.items():
        for typed in texts:
            assert normalise_password(typed) == password
            assert normalise_name(typed) == password.strip(" ")


@given(st.text(max_size=100) | st.text(PRINTABLE, max_size=70))
def test_normalising_twice_changes_nothing(text: str) -> None:
    """Normalising again changes nothing; printable ASCII loses only a name's outer blanks."""
    for normalise in (normalise_name, normalise_password):
        once = normalise(text)
        assert normalise(once) == once
        assert not any(unicodedata.category(char) == "Cf" for char in once)
    if set(text) <= set(PRINTABLE):
        assert (normalise_password(text), normalise_name(text)) == (text, text.strip())


def test_long_text_is_not_normalised() -> None:
    """Normalising takes time that grows with the length, so longer text is returned unchanged."""
    longest, longer = "Ａ" * 1024, "Ａ" * 1025
    assert normalise_password(longest) == normalise_name(longest) == "A" * 1024
    assert normalise_password(longer) == normalise_name(longer) == longer
