"""Makes text from a peer or the operating system fit to be shown, logged and sent."""

from __future__ import annotations

import unicodedata

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories that never reach a log or a label: controls, direction overrides, …"""


def N_(text: str) -> str:  # noqa: N802 - gettext's own name for "translate me later"
    """Mark a text for extraction only."""
    return text


def clean(text: str, limit: int) -> str:
    """`text` on one line, without control and format characters, at most `limit` characters."""
    if text.isascii() and text.isprintable():
        kept = text  # as nearly every label is
    else:
        kept = _without_hidden(text[: limit * 4])
    kept = " ".join(kept.split())
    return kept if len(kept) <= limit else kept[: limit - 1] + "…"


def _without_hidden(text: str) -> str:
    return "".join(
        " " if c in "\t\n\r" else c
        for c in text
        if c in "\t\n\r" or unicodedata.category(c) not in _HIDDEN
    )


def clip_utf16(text: str, units: int) -> str:
    """The longest beginning of `text` that fits `units` UTF-16 units, whole characters only."""
    raw = text.encode("utf-16-le")[: units * 2]
    return raw.decode("utf-16-le", errors="ignore")


def utf16_units(text: str) -> int:
    """The length of `text` as Windows counts it."""
    return len(text.encode("utf-16-le")) // 2
