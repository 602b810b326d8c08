"""SASLprep (RFC 4013): how names and passwords are prepared before they are hashed."""

from __future__ import annotations


def saslprep(text: str) -> str:
    """`text` in the form that both sides hash. Raise ValueError, which quotes nothing."""
    if text.isascii() and text.isprintable():
        return text  # what nearly everybody types; the tables below are not loaded for it
    import stringprep
    import unicodedata

    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char
        for char in text
        if not stringprep.in_table_b1(char)
    )
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    prohibited = (
        stringprep.in_table_b1,
        stringprep.in_table_a1,
        stringprep.in_table_c12,
        stringprep.in_table_c21_c22,
        stringprep.in_table_c3,
        stringprep.in_table_c4,
        stringprep.in_table_c5,
        stringprep.in_table_c6,
        stringprep.in_table_c7,
        stringprep.in_table_c8,
        stringprep.in_table_c9,
    )
    if any(within(char) for char in prepared for within in prohibited):
        raise ValueError("a character that is not allowed")
    if any(map(stringprep.in_table_d1, prepared)) and (
        any(map(stringprep.in_table_d2, prepared))
        or not stringprep.in_table_d1(prepared[0])
        or not stringprep.in_table_d1(prepared[-1])
    ):
        raise ValueError("letters of both directions")
    return prepared
