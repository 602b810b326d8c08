"""Generate temporary passwords, to be read out, typed once and changed."""

from __future__ import annotations

import secrets

_KINDS = ("ABCDEFGHJKLMNPQRSTUVWXYZ", "abcdefghijkmnpqrstuvwxyz", "23456789")
"""Without 0 O o and 1 I l, which look alike on paper."""
_BLOCKS = 3
_BLOCK_LENGTH = 4


def generate() -> str:
    """Return a password such as `kR7m-Xq4t-9hWd`: about 69 bits, within the password rules."""
    alphabet = "".join(_KINDS)
    while True:
        blocks = (
            "".join(secrets.choice(alphabet) for _ in range(_BLOCK_LENGTH)) for _ in range(_BLOCKS)
        )
        password = "-".join(blocks)
        if all(any(character in kind for character in password) for kind in _KINDS):
            return password
