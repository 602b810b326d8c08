"""The rules for passwords, one by one, and the made-up passwords that keep them."""

from __future__ import annotations

import pytest
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from server.console.models import User
from server.console.people import temporary_password


def broken(password: str, user: User | None = None) -> set[str]:
    try:
        validate_password(password, user or User(username="tanaka"))
    except ValidationError as error:
        return {str(one.code) for one in error.error_list}
    return set()


PASSWORDS = {
    "": [
        "Axcdef1!", "axcdef1!", "AXCDEF1!", "Zyxwvut1", "Abc def gh", "A1" + "b" * 62,
        "Summer-83619-4", "Adm1n-Adm1n", "Tan-83619-a", "Tokyo-Kyoto-83",
    ],
    "password_length": ["Axcde1!", "A1" + "b" * 63],
    "password_kinds": ["zyxwvut1", "83619274!"],
    "password_not_ascii": ["Ａbcdefg1!", "Zyxwvut1\t", "Abcdefg1\x7f"],
    "password_common": [
        "P@SSW0RD", "P@ssw0rd1", "Coconowork1", "2026-Summer!", "L3tm31n!", "!QAZ2wsx",
        "12345678Aa", "Aa12345678", "Passw0rdPassw0rd", "Tokyo2026!", "My-C0c0n0w0rk-83619",
    ],
    "password_is_user_name": ["Tanaka2026", "my-T4N4KA-7"],
    "password_is_user_name password_length password_kinds": ["TANAKA"],
}  # fmt: skip
"""For the codes of broken rules, passwords of the user `tanaka` that break them."""


@pytest.mark.parametrize(
    ("password", "codes"), [(each, codes) for codes, all_ in PASSWORDS.items() for each in all_]
)
def test_rules(password: str, codes: str) -> None:
    """Each rule holds at its limits; Unicode digits and letters do not count as kinds."""
    assert broken(password) == set(codes.split())


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("alice", "Al1ce2026!"),
        ("alice", "my-A|!CE-77"),
        ("tanaka.taro@example.com", "Tanaka2026"),
        ("tanaka.taro@example.com", "2026-T4r0-x"),
        ("t-suzuki", "Suzuk1_26"),
    ],
)
def test_user_names_and_their_parts(name: str, password: str) -> None:
    """A user name, or a part of it, is found in a password even when disguised."""
    assert "password_is_user_name" in broken(password, User(username=name))
    assert "password_is_user_name" not in broken("Granite-.com@-83", User(username=name))


def test_short_user_names_may_be_inside() -> None:
    """A user name of one or two letters is allowed inside: most passwords contain it."""
    assert broken("Jxpiter-7", User(username="j")) == set()
    assert "password_is_user_name" in broken("j", User(username="j"))


def test_temporary_passwords_keep_the_rules() -> None:
    """Generated temporary passwords all differ and keep the rules."""
    made = {temporary_password() for _ in range(200)}
    assert len(made) == 200
    assert not any(broken(password) for password in made)
    assert not any(character in "0O1lIo" for password in made for character in password)
