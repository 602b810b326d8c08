"""User names and passwords as the protocol carries them, and as people type them.

Both are printable ASCII by the product's rules. People type and paste more than that: full-width
letters of a Japanese keyboard, invisible characters and line ends from a document. Every place that
takes a typed name or password passes it through `normalise_name` or `normalise_password`, so that
one person's input means the same everywhere. The wire itself carries the result only.
"""

from __future__ import annotations

import unicodedata

MAX_NAME_CHARS = 64
MAX_PASSWORD_CHARS = 1024
"""A limit of our own: even with JSON's escapes, such a password fits into a push."""


def is_name(text: str) -> bool:
    """Return whether `text` can be a user name: 1 to 64 characters of printable ASCII."""
    return 0 < len(text) <= MAX_NAME_CHARS and text.isascii() and text.isprintable()


def is_password(text: str) -> bool:
    """Return whether `text` can be a password: 1 to 1,024 characters of printable ASCII."""
    return 0 < len(text) <= MAX_PASSWORD_CHARS and text.isascii() and text.isprintable()


def normalise_name(text: str) -> str:
    """Return a typed user name without full-width letters, invisible characters and outer blanks.

    The result may be no valid name; ask `is_name`. Text of more than 1,024 characters is returned
    as it is, because normalising takes time that grows with its length.
    """
    return _normalise(text).strip()


def normalise_password(text: str) -> str:
    """Return a typed password without full-width letters, invisible characters and line ends.

    Tabs at its ends, which a spreadsheet adds, go too. Blanks at its ends stay, because a
    password may have them. The result may be no valid password; ask `is_password`. Text of more
    than 1,024 characters is returned as it is.
    """
    return _normalise(text).strip("\t\r\n\v\f\x85\u2028\u2029")


def _normalise(text: str) -> str:
    if len(text) > MAX_PASSWORD_CHARS or (text.isascii() and text.isprintable()):
        return text
    visible = "".join(char for char in text if unicodedata.category(char) != "Cf")
    return unicodedata.normalize("NFKC", visible)
