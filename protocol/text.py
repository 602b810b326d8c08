"""Clean text of a peer or the operating system, so that it can be shown, logged and sent."""

from __future__ import annotations

import unicodedata

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories that never reach a log or a label: controls, direction overrides, …"""
_BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
"""Letters, signs and marks that are invisible."""
MAX_MARKS = 4
"""Marks on one letter. No script needs more, and many of them would cover other lines."""


def N_(text: str) -> str:  # noqa: N802 - gettext's own name for "translate me later"
    """Mark a text for extraction only."""
    return text


def clean(text: str, limit: int) -> str:
    """Return `text` on one line, without control and format characters, and cut to `limit`."""
    plain = text.isascii() and text.isprintable()  # nearly every label is
    kept = " ".join((text if plain else _without_hidden(text[: limit * 4])).split())
    return kept if len(kept) <= limit else kept[: limit - 1] + "…"


def _without_hidden(text: str) -> str:
    kept, marks = [], 0
    for char in text:
        c = " " if char in "\t\n\r" else char
        category = unicodedata.category(c)
        if category in _HIDDEN or c in _BLANK:
            continue
        marks = marks + 1 if category in {"Mn", "Me"} else 0
        if marks <= MAX_MARKS:
            kept.append(c)
    return "".join(kept)


def clip_utf16(text: str, units: int) -> str:
    """Return the longest beginning of `text` in `units` UTF-16 units, whole characters only."""
    raw = text.encode("utf-16-le")[: units * 2]
    return raw.decode("utf-16-le", errors="ignore")


def utf16_units(text: str) -> int:
    """Return the length of `text` in UTF-16 units, as Windows counts it."""
    return len(text.encode("utf-16-le")) // 2
