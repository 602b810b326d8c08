"""Compare versions of the client: numbers separated by dots."""

from __future__ import annotations

import re


def is_older(version: str, than: str) -> bool:
    """Return whether a version comes before `than`, which is numbers and dots or empty.

    `version` may be any text: only the numbers at its beginning count, and a text without them is
    older than every version. Nothing is older than an empty `than`.
    """
    if not than:
        return False
    numbers = re.match(r"\d{1,9}(?:\.\d{1,9}){0,7}", version, re.ASCII)
    return numbers is None or _numbers(numbers[0]) < _numbers(than)


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.sub(r"(\.0+)+$", "", version).split(".")]
