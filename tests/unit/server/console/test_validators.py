"""The rules for passwords, one by one, and the made-up passwords that keep them."""

from __future__ import annotations

import pytest
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from server.console.models import User
from server.console.new_users import temporary_password


def broken(password: str, user: User | None = None) -> set[str]:
    try:
        validate_password(password, user or User(username="tanaka"))
    except ValidationError as error:
        return {str(one.code) for one in error.error_list}
    return set()


@pytest.mark.parametrize(
    ("password", "codes"),
    [
        ("Axcdef1!", set()),
        ("axcdef1!", set()),
        ("AXCDEF1!", set()),
        ("Zyxwvut1", set()),
        ("Abc def gh", set()),
        ("A1" + "b" * 62, set()),
        ("Axcde1!", {"password_length"}),
        ("A1" + "b" * 63, {"password_length"}),
        ("zyxwvut1", {"password_kinds"}),
        ("12345678!", {"password_kinds"}),
        ("Ａbcdefg1!", {"password_not_ascii"}),
        ("Zyxwvut1\t", {"password_not_ascii"}),
        ("Abcdefg1\x7f", {"password_not_ascii"}),
        ("Passw0rd", {"password_common"}),
        ("P@SSW0RD", {"password_common"}),
        ("P@ssw0rd1", {"password_common"}),
        ("Passw0rd!", {"password_common"}),
        ("Coconowork1", {"password_common"}),
        ("2026-Summer!", {"password_common"}),
        ("Summer-83619-4", set()),
        ("Adm1n-Adm1n", set()),
        ("Tanaka2026", {"password_is_user_name"}),
        ("my-T4N4KA-7", {"password_is_user_name"}),
        ("TANAKA", {"password_is_user_name", "password_length", "password_kinds"}),
    ],
)
def test_rules(password: str, codes: set[str]) -> None:
    """Each rule by its limits; Unicode digits and letters do not count as kinds."""
    assert broken(password) == codes


def test_short_user_names_may_be_inside() -> None:
    """A name of one or two letters is in most passwords."""
    assert broken("Jxpiter-7", User(username="j")) == set()
    assert "password_is_user_name" in broken("j", User(username="j"))


def test_temporary_passwords_keep_the_rules() -> None:
    """Each is another one, and may be typed where passwords are."""
    made = {temporary_password() for _ in range(200)}
    assert len(made) == 200
    assert not any(broken(password) for password in made)
    assert not any(character in "0O1lIo" for password in made for character in password)
