"""Check new passwords, and list the rules for the page that explains them.

A rule's sentence is also its error message, so the page cannot differ from the checks.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from string import ascii_letters, ascii_lowercase, ascii_uppercase, digits, punctuation
from typing import NamedTuple

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.password_validation import CommonPasswordValidator
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

MIN_LENGTH = 8
MAX_LENGTH = 64
MIN_KINDS = 3
MIN_NAME_INSIDE = 3
"""A password must not contain a user name of at least this many characters."""
MIN_PART_INSIDE = 4
"""As above for a part of the user name, such as `tanaka` of `tanaka.taro@example.com`."""
PRODUCT = "coconowork"
LOCAL_WORDS = ("cocono", "nippon", "nihon", "japan", "tokyo", "kyoto", "osaka", "fujisan", "sakura")

_KINDS = (ascii_uppercase, ascii_lowercase, digits, f"{punctuation} ")
_LOOKALIKES = str.maketrans("@4310!$5l(|", "aaeioissici")


class Rule(NamedTuple):
    """One rule: its name, its sentence in the language of the page, and its check."""

    code: str
    text: Callable[[], str]
    holds: Callable[[str, str], bool]
    """Return whether a password keeps the rule, given a user name or an empty text."""


def _has_no_name(password: str, username: str) -> bool:
    if len(username) < MIN_NAME_INSIDE:  # a name of one letter occurs in most passwords
        return password.strip().lower() != username.lower() or not username
    parts = [part for part in re.split(r"[._@-]", username) if len(part) >= MIN_PART_INSIDE]
    return not any(_plain(name) in _plain(password) for name in (username, *parts))


def _is_uncommon(password: str, _username: str) -> bool:
    """Return whether a password is neither common nor nearly so: `P@ssw0rd1`, `Aa12345678`.

    A password is nearly common when a common word, or its repetition, remains after symbols, and
    digits or letters, are cut off at both ends. If more than half is cut off, it is allowed.
    """
    if _plain(PRODUCT) in _plain(password):
        return False
    symbols = f" {punctuation}"
    words = [password.strip(symbols + more) for more in ("", digits, ascii_letters)]
    words = [password.strip(), *(word for word in words if 2 * len(word) >= len(password))]
    return not any({_plain(word), _repeated(_plain(word))} & _common() for word in words)


@cache
def _common() -> frozenset[str]:
    """Return Django's list of the 20,000 most used passwords, and some Japanese words."""
    known = {*CommonPasswordValidator().passwords, *LOCAL_WORDS}
    return frozenset(map(_plain, known))


def _plain(password: str) -> str:
    """Return the password in lower case, with digits and symbols replaced by similar letters.

    `l` becomes `i`, too, because `1` looks like both.
    """
    return password.lower().translate(_LOOKALIKES)


def _repeated(word: str) -> str:
    """Return the shortest text whose repetition is `word`: `word` itself if it repeats nothing."""
    return word[: (word + word).find(word, 1)]


RULES = (
    Rule(
        "password_length",
        lambda: _("It has %(min)d to %(max)d characters.") % {"min": MIN_LENGTH, "max": MAX_LENGTH},
        lambda password, _username: MIN_LENGTH <= len(password) <= MAX_LENGTH,
    ),
    Rule(
        "password_not_ascii",
        lambda: _("It consists of half-width letters, digits, symbols and spaces only (ASCII)."),
        lambda password, _username: all(" " <= character <= "~" for character in password),
    ),
    Rule(
        "password_kinds",
        lambda: (
            _(
                "It has at least %(count)d of these four kinds of characters: upper-case letters, "
                "lower-case letters, digits, symbols."
            )
            % {"count": MIN_KINDS}
        ),
        lambda password, _username: sum(bool(set(k) & set(password)) for k in _KINDS) >= MIN_KINDS,
    ),
    Rule(
        "password_is_user_name",
        lambda: _("It does not contain the user name or a part of it, in upper or lower case."),
        _has_no_name,
    ),
    Rule(
        "password_common",
        lambda: _(
            "It is not a commonly used password or word, not even with digits or symbols added or "
            "in the place of letters."
        ),
        _is_uncommon,
    ),
)


class PasswordRules:
    """All rules as one password validator of Django, named in the settings."""

    def validate(self, password: str, user: AbstractBaseUser | None = None) -> None:
        """Raise ValidationError with each rule that `password` breaks."""
        name = user.get_username() if user is not None else ""
        broken = [rule for rule in RULES if not rule.holds(password, name)]
        if broken:
            raise ValidationError([ValidationError(r.text(), code=r.code) for r in broken])


def reuse_rule_text() -> str:
    """Return the rule that `passwords.py` checks during the change: it needs a hash (0.3 s)."""
    return _("It is neither the current password nor an old one that clients may still use.")


def rule_texts() -> list[str]:
    """Return all rules as sentences, in the language of the page."""
    return [*(rule.text() for rule in RULES), reuse_rule_text()]
