"""Check new passwords: Django's validators, and the texts of the page that lists the rules.

`AUTH_PASSWORD_VALIDATORS` names these classes. The page of rules and the errors at the fields
both come from `rule_text()`, so they cannot differ from what is checked.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from string import ascii_lowercase, ascii_uppercase, digits

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


class Rule(ABC):
    """One rule, in the form that Django wants of a password validator."""

    code: str

    @abstractmethod
    def rule_text(self) -> str:
        """The rule as a sentence, in the language of the page."""

    @abstractmethod
    def holds(self, password: str, user: AbstractBaseUser | None) -> bool:
        """Whether `password` keeps the rule."""

    def validate(self, password: str, user: AbstractBaseUser | None = None) -> None:
        if not self.holds(password, user):
            raise ValidationError(self.rule_text(), code=self.code)

    def get_help_text(self) -> str:
        return self.rule_text()


class LengthRule(Rule):
    """Neither too short nor too long."""

    code = "password_length"

    def rule_text(self) -> str:
        return _("It has %(min)d to %(max)d characters.") % {"min": MIN_LENGTH, "max": MAX_LENGTH}

    def holds(self, password: str, user: AbstractBaseUser | None) -> bool:  # noqa: ARG002
        return MIN_LENGTH <= len(password) <= MAX_LENGTH


class AsciiRule(Rule):
    """Only what every keyboard has, so that the password can be typed on every PC."""

    code = "password_not_ascii"

    def rule_text(self) -> str:
        return _("It consists of half-width letters, digits, symbols and spaces only (ASCII).")

    def holds(self, password: str, user: AbstractBaseUser | None) -> bool:  # noqa: ARG002
        return all(" " <= character <= "~" for character in password)


class KindsRule(Rule):
    """A mixture of kinds of characters."""

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
    """Not what everybody knows already."""

    code = "password_is_user_name"

    def rule_text(self) -> str:
        return _("It is not the user name, in upper or lower case.")

    def holds(self, password: str, user: AbstractBaseUser | None) -> bool:
        return user is None or password.strip().casefold() != user.get_username().casefold()


class NotCommonRule(Rule):
    """None of the 20,000 passwords that Django knows as most used."""

    code = "password_common"

    def __init__(self) -> None:
        self._common: frozenset[str] = frozenset(CommonPasswordValidator().passwords)

    def rule_text(self) -> str:
        return _("It is not a commonly used password.")

    def holds(self, password: str, user: AbstractBaseUser | None) -> bool:  # noqa: ARG002
        return password.strip().lower() not in self._common


def reuse_rule_text() -> str:
    """Return the rule that `passwords.py` keeps during the change: it costs a hash of 0.3 s."""
    return _("It is neither the current password nor an old one that clients may still use.")


def rule_texts() -> list[str]:
    """Return all rules in force as sentences, in the language of the page."""
    validators = get_default_password_validators()
    texts = [rule.rule_text() for rule in validators if isinstance(rule, Rule)]
    return [*texts, reuse_rule_text()]
