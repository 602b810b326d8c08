"""Check new passwords, and list the rules for the page that explains them.

The sentence of a rule is also its error, so the page cannot differ from what is checked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from string import ascii_lowercase, ascii_uppercase, digits, punctuation
from typing import NamedTuple

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.password_validation import CommonPasswordValidator
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

MIN_LENGTH = 8
MAX_LENGTH = 64
MIN_KINDS = 3
MIN_NAME_INSIDE = 3
"""Characters of a user name from which on a password must not contain it."""

_KINDS = (ascii_uppercase, ascii_lowercase, digits, f"{punctuation} ")
_LOOKALIKES = str.maketrans("@4310!$5", "aaeloiss")


class Rule(NamedTuple):
    """One rule: its name, its sentence in the language of the page, and whether it is kept."""

    code: str
    text: Callable[[], str]
    holds: Callable[[str, str], bool]
    """Takes a password and the user name, which is empty when there is no user."""


def _has_no_name(password: str, username: str) -> bool:
    name = username.lower()
    if len(name) < MIN_NAME_INSIDE:  # a name of one letter is in most passwords
        return password.strip().lower() != name or not name
    return name not in password.lower() and name not in _plain(password)


def _is_uncommon(password: str, _username: str) -> bool:
    """Return whether the password is not common, and not nearly: `P@ssw0rd1`, `Summer2026!`.

    It is nearly common when a common word remains after digits and symbols are taken off its ends
    and out of its letters. A longer rest, such as `Summer-83619-4`, passes.
    """
    word = _plain(password.strip().strip(digits + punctuation))
    is_most = 2 * len(word) >= len(password)
    return password.strip().lower() not in _common() and not (is_most and word in _common())


@cache
def _common() -> frozenset[str]:
    """Return the 20,000 most used passwords, as Django knows them, and our name."""
    return frozenset({*CommonPasswordValidator().passwords, "coconowork"})


def _plain(password: str) -> str:
    """Return the password in lower case, with letters for the digits that look like them."""
    return password.lower().translate(_LOOKALIKES)


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
        lambda: _("It does not contain the user name, in upper or lower case."),
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
    """All rules, as one of Django's password validators; the settings name it."""

    def validate(self, password: str, user: AbstractBaseUser | None = None) -> None:
        """Raise ValidationError with each rule that `password` breaks."""
        name = user.get_username() if user is not None else ""
        broken = [rule for rule in RULES if not rule.holds(password, name)]
        if broken:
            raise ValidationError([ValidationError(r.text(), code=r.code) for r in broken])


def reuse_rule_text() -> str:
    """Return the rule that `passwords.py` keeps during the change: it costs a hash of 0.3 s."""
    return _("It is neither the current password nor an old one that clients may still use.")


def rule_texts() -> list[str]:
    """Return all rules as sentences, in the language of the page."""
    return [*(rule.text() for rule in RULES), reuse_rule_text()]
