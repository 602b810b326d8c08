"""Logging in: who may, what strangers learn, and how guessing ends."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from axes.models import AccessAttempt
from django.db import connection
from django.db.models import F
from django.http import HttpResponse
from django.urls import get_resolver
from django.urls.resolvers import URLPattern, URLResolver

from server.console import lockout, passwords
from server.console.models import AuditEvent, User
from tests.support.server_fixtures import P1, P2
from tests.unit.server.console.conftest import Browse, new_client


def log_in(username: str, password: str, **options: object) -> HttpResponse:
    client = new_client(**options)  # type: ignore[arg-type]  # passed through as they are
    answer = client.post("/login/", {"username": username, "password": password})
    assert isinstance(answer, HttpResponse)
    return answer


def test_right_password(user: User) -> None:
    """The current password opens the console."""
    assert log_in(user.username, P1).headers["Location"] == "/"


def test_old_password_is_refused(user: User) -> None:
    """An old password, still good for clients, opens neither the console nor the app."""
    passwords.change_own(user, new_password=P2, push_to=[], address=None)
    assert log_in(user.username, P1).status_code == 200
    client = new_client()
    answer = client.post("/app/login/", {"username": user.username, "password": P1})
    assert answer.status_code == 200
    answer = client.post("/app/login/", {"username": user.username, "password": P2})
    assert answer.headers["Location"] == "/app/"


def test_strangers_learn_nothing(make_user: Callable[..., User]) -> None:
    """A wrong password, an unknown user and a disabled one get the same page, at the same cost."""
    known, disabled = make_user(), make_user(is_active=False)
    answers = {}
    original = hashlib.pbkdf2_hmac
    hashed: list[int] = []

    def counted(name: str, password: bytes, salt: bytes, iterations: int) -> bytes:
        hashed.append(iterations)
        return original(name, password, salt, iterations)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashlib, "pbkdf2_hmac", counted)
        for name, username, password in (
            ("wrong", known.username, "Wrong-Pass1"),
            ("unknown", "nobody-at-all", "Wrong-Pass1"),
            ("disabled", disabled.username, P1),
            ("strange", known.username, "\u0000\ufffe\U000e0001"),
        ):
            hashed.clear()
            page = log_in(username, password).content.decode()
            assert password not in page
            answers[name] = (hashed.copy(), page.replace(username, "").count("is wrong"))
    strange = answers.pop("strange")
    assert strange[0] in ([], [600_000])  # a NUL never comes as far as the hashing
    assert set(map(str, answers.values())) == {"([600000], 1)"}


def test_guessing_ends(user: User) -> None:
    """After five wrong passwords from an address, the right one does not help there either."""
    for _ in range(lockout.LIMIT_USER_AND_ADDRESS - 1):
        assert log_in(user.username, "Wrong-Pass1").status_code == 200
    assert log_in(user.username, "Wrong-Pass1").status_code == 429
    assert log_in(user.username, P1).status_code == 429
    assert log_in(user.username.upper(), P1).status_code == 429
    assert log_in(user.username, P1, address="192.0.2.1").status_code == 302
    assert AuditEvent.objects.filter(subject=user, action="login.locked").count() == 1
    AccessAttempt.objects.update(attempt_time=F("attempt_time") - lockout.WINDOW)
    assert log_in(user.username, P1).status_code == 302


def test_unknown_users_are_locked_out_too() -> None:
    """A lockout does not tell who exists."""
    for _ in range(lockout.LIMIT_USER_AND_ADDRESS):
        last = log_in("nobody-at-all", "Wrong-Pass1")
    assert last.status_code == 429


def test_guessing_from_many_addresses_ends(user: User) -> None:
    """One user's password is guessed 30 times in all, wherever from."""
    for number in range(lockout.LIMIT_USER):
        last = log_in(user.username, "Wrong-Pass1", address=f"198.51.100.{number}")
    assert last.status_code == 429
    assert log_in(user.username, P1, address="203.0.113.1").status_code == 429


def test_guessing_many_users_ends(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """One address guesses so many times in all, whosever passwords; here fewer, to save time."""
    monkeypatch.setattr(lockout, "LIMIT_ADDRESS", 8)
    for number in range(lockout.LIMIT_ADDRESS):
        last = log_in(f"name{number}", "Wrong-Pass1", address="198.51.100.200")
    assert last.status_code == 429
    assert log_in(user.username, P1, address="198.51.100.200").status_code == 429
    assert log_in(user.username, P1).status_code == 302


def test_a_success_clears_only_its_own_failures(make_user: Callable[..., User]) -> None:
    """Logging in with one's own password wins no guesses at another's."""
    victim, guesser = make_user(), make_user()
    for _ in range(lockout.LIMIT_USER_AND_ADDRESS - 1):
        log_in(victim.username, "Wrong-Pass1")
    assert log_in(guesser.username, P1).status_code == 302
    assert log_in(victim.username, "Wrong-Pass1").status_code == 429


def test_a_salvo_is_counted(user: User) -> None:
    """Twenty guesses at the same time are no more than five."""

    def guess(number: int) -> int:
        try:
            return log_in(user.username, f"Wrong-Pass{number}").status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(guess, range(20)))
    assert answers.count(200) == lockout.LIMIT_USER_AND_ADDRESS - 1


def test_nothing_typed_is_kept() -> None:
    """A password typed as user name is in no row that the lockout keeps."""
    log_in("My-Secret-Passw0rd", "My-Secret-Passw0rd")
    kept = str(list(AccessAttempt.objects.values()))
    assert "Secret" not in kept
    assert lockout.key("My-Secret-Passw0rd") in kept


def test_guessing_the_current_password_ends(browse: Browse, user: User) -> None:
    """A forgotten session is no place to guess the password at."""
    client = browse(user)
    form = {"current_password": "Wrong-Pass1", "new_password1": P2, "new_password2": P2}
    answers = [client.post("/password/", form).status_code for _ in range(5)]
    assert answers == [200, 200, 200, 200, 429]
    assert client.post("/password/", form | {"current_password": P1}).status_code == 429
    user.refresh_from_db()
    assert user.check_password(P1)


def test_no_open_redirect(user: User) -> None:
    """`next` leads nowhere else."""
    for target in ("https://evil.example/", "//evil.example", "javascript:alert(1)"):
        form = {"username": user.username, "password": P1, "next": target}
        assert new_client().post("/login/", form).headers["Location"] == "/"


def _patterns() -> list[str]:
    def example(pattern: URLPattern | URLResolver) -> str:
        text = str(pattern.pattern)
        for part, value in (
            ("<int:pk>", "1"),
            ("<int:device_pk>", "1"),
            ("<str:deed>", "disable"),
            ("<str:change_id>", "0" * 32),
        ):
            text = text.replace(part, value)
        return f"/{text}"

    return [example(pattern) for pattern in get_resolver().url_patterns]


OPEN = {
    "/login/",
    "/app/login/",
    "/language/",
    "/password/rules/",
    "/app/manifest.webmanifest",
}
"""What anybody may open."""


@pytest.mark.parametrize("path", _patterns())
def test_everything_else_needs_a_login(path: str) -> None:
    """Pages are closed unless listed here."""
    answer = new_client().get(path)
    if path in OPEN:
        assert answer.status_code in {200, 302, 405}
        assert "login" not in answer.headers.get("Location", "")
    else:
        assert answer.status_code == 302
        assert "/login/" in answer.headers["Location"]


OPEN_WITH_TEMPORARY_PASSWORD = {
    "/password/",
    "/live/push/",
    "/password/rules/",
    "/language/",
    "/logout/",
    "/app/logout/",
    "/app/manifest.webmanifest",
}


@pytest.mark.parametrize("path", _patterns())
def test_a_temporary_password_opens_only_its_change(
    browse: Browse, make_user: Callable[..., User], path: str
) -> None:
    """Whatever is opened with a temporary password leads to its change."""
    user = make_user(must_change_password=True, role=User.Role.ADMINISTRATOR)
    answer = browse(user).get(path)
    if path in OPEN_WITH_TEMPORARY_PASSWORD:
        assert answer.status_code in {200, 302, 405}
        assert answer.headers.get("Location") != "/password/"
    else:
        assert answer.headers["Location"] == "/password/"


def test_a_session_ends_by_itself(browse: Browse, user: User) -> None:
    """Twelve hours at most, and the cookie is out of reach for scripts and other sites."""
    client = browse()
    client.post("/login/", {"username": user.username, "password": P1})
    cookie = client.cookies["sessionid"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert timedelta(seconds=int(cookie["max-age"])) <= timedelta(hours=12)
