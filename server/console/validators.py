"""Check new passwords: Django's validators, and the texts of the page that lists the rules.

`AUTH_PASSWORD_VALIDATORS` names these classes. The page of rules and the errors at the fields
both come from `rule_text()`, so they cannot differ from what is checked.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from string import ascii_lowercase, ascii_uppercase, digits, punctuation

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.password_validation import (
    CommonPasswordValidator,
    get_default_password_validators,
)
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

MIN_LENGTH = 8
MAX_LENGTH = 64
MIN_KINDS = 3
MIN_NAME_INSIDE = 3
"""Characters of a user name from which on a password must not contain it."""

_LOOKALIKES = str.maketrans("@4310!$5", "aaeloiss")


class Rule(ABC):
    """One rule, in the form of Django's password validators."""

    code: str

    @abstractmethod
    def rule_text(self) -> str:
        """Return the rule as a sentence, in the language of the page."""

    @abstractmethod
    def holds(self, password: str, user: AbstractBaseUser | None) -> bool:
        """Return whether `password` keeps the rule."""

    def validate(self, password: str, user: AbstractBaseUser | None = None) -> None:
        """Raise ValidationError when `password` breaks the rule."""
        if not self.holds(password, user):
            raise ValidationError(self.rule_text(), code=self.code)

    def get_help_text(self) -> str:
        """Return the rule, as Django asks for it."""
        return self.rule_text()


class LengthRule(Rule):
    """The password is neither too short nor too long."""

    code = "password_length"

    def rule_text(self) -> str:
        return _("It has %(min)d to %(max)d characters.") % {"min": MIN_LENGTH, "max": MAX_LENGTH}

    def holds(self, password: str, user: AbstractBaseUser | None) -> bool:  # noqa: ARG002
        return MIN_LENGTH <= len(password) <= MAX_LENGTH


class AsciiRule(Rule):
    """The password has only characters of every keyboard, so it can be typed on every PC."""

    code = "password_not_ascii"

    def rule_text(self) -> str:
        return _("It consists of half-width letters, digits, symbols and spaces only (ASCII).")

    def holds(self, password: str, user: AbstractBaseUser | None) -> bool:  # noqa: ARG002
        return all(" " <= character <= "~" for character in password)


class KindsRule(Rule):
    """The password mixes kinds of characters."""

    code = "password_kinds"

    def rule_text(self) -> str:
        return _(
            "It has at least %(count)d of these four kinds of characters: upper-case letters, "
            "lower-case letters, digits, symbols."
        ) % {"count": MIN_KINDS}

    def holds(self, password: str, user: AbstractBaseUser | None) -> bool:  # noqa: ARG002
        kinds = (
            any(character in ascii_uppercase for character in password),
            any(character in ascii_lowercase for character in password),
            any(character in digits for character in password),
            any(" " <= character <= "~" and not character.isalnum() for character in password),
        )
        return sum(kinds) >= MIN_KINDS


class NotUserNameRule(Rule):
    """The password does not contain the user name, which others know."""

    code = "password_is_user_name"

    def rule_text(self) -> str:
        return _("It does not contain the user name, in upper or lower case.")

    def holds(self, password: str, user: AbstractBaseUser | None) -> bool:
        name = user.get_username().lower() if user is not None else ""
        if len(name) < MIN_NAME_INSIDE:  # a name of one letter is in most passwords
            return password.strip().lower() != name or not name
        return name not in password.lower() and name not in _plain(password)


class NotCommonRule(Rule):
    """The password is none of the 20,000 most used ones that Django knows, and not nearly one.

    `P@ssw0rd1` and `Summer2026!` are nearly one: the word remains when digits and symbols are
    taken off its ends and out of its letters. A longer rest, such as `Summer-83619-4`, passes.
    """

    code = "password_common"

    def __init__(self) -> None:
        self._common = frozenset({*CommonPasswordValidator().passwords, "coconowork"})

    def rule_text(self) -> str:
        return _(
            "It is not a commonly used password or word, not even with digits or symbols added or "
            "in the place of letters."
        )

    def holds(self, password: str, user: AbstractBaseUser | None) -> bool:  # noqa: ARG002
        word = _plain(password.strip().strip(digits + punctuation))
        is_most = 2 * len(word) >= len(password)
        return password.strip().lower() not in self._common and not (
            is_most and word in self._common
        )


def _plain(password: str) -> str:
    """Return the password in lower case, with letters for the digits that look like them."""
    return password.lower().translate(_LOOKALIKES)


def reuse_rule_text() -> str:
    """Return the rule that `passwords.py` keeps during the change: it costs a hash of 0.3 s."""
    return _("It is neither the current password nor an old one that clients may still use.")


def rule_texts() -> list[str]:
    """Return all rules in force as sentences, in the language of the page."""
    validators = get_default_password_validators()
    texts = [rule.rule_text() for rule in validators if isinstance(rule, Rule)]
    return [*texts, reuse_rule_text()]
