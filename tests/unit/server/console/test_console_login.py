"""Logging in: who may, what strangers learn, and how guessing ends."""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from axes.models import AccessAttempt
from django.contrib.sessions.models import Session
from django.db import connection
from django.db.models import F
from django.http import HttpResponse
from django.test import Client
from django.urls import get_resolver
from django.urls.resolvers import URLPattern, URLResolver

from server import clock, config
from server.console import hashing, lockout, passwords, sessions
from server.console.models import AuditEvent, User
from tests.support.console_client import Browse, new_client, page
from tests.support.server_fixtures import P1, P2, MakeUser


def log_in(username: str, password: str, **options: object) -> HttpResponse:
    client = new_client(**options)  # type: ignore[arg-type]  # passed through as they are
    answer = client.post("/login/", {"username": username, "password": password})
    assert isinstance(answer, HttpResponse)
    return answer


def test_old_password_is_refused(user: User) -> None:
    """An old password, still good for clients, opens neither the console nor the app."""
    passwords.change_own(user, new_password=P2, push_to=[], address=None)
    assert log_in(user.username, P1).status_code == 200
    client = new_client()
    answer = client.post("/app/login/", {"username": user.username, "password": P1})
    assert answer.status_code == 200
    answer = client.post("/app/login/", {"username": user.username, "password": P2})
    assert answer.headers["Location"] == "/app/"


def test_strangers_learn_nothing(make_user: MakeUser) -> None:
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
            ("unknown", "unknown-user", "Wrong-Pass1"),
            ("disabled", disabled.username, P1),
            ("strange", known.username, "\u0000\ufffe\U000e0001"),
            ("stranger", "unknown-user", "\u0000\ufffe\U000e0001"),
        ):
            hashed.clear()
            page = log_in(username, password).content.decode()
            assert password not in page
            answers[name] = (hashed.copy(), page.replace(username, "").count("is wrong"))
    strange = [answers.pop(name) for name in ("strange", "stranger")]
    assert strange[0] == strange[1]
    assert strange[0][0] in ([], [600_000])  # a NUL never comes as far as the hashing
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


@pytest.mark.parametrize("password", ["Wrong-Pass1", P1 + "\r\n"])
def test_typed_names_find_their_user(user: User, password: str) -> None:
    """Full width, invisible characters and line ends log in; the lockout knows upper case, too."""
    name = user.username
    wide = "".join(chr(ord(character) + 0xFEE0) for character in name)
    typed = (wide, name.upper(), f"\u00ad{name}", f"{name}\u200b", f" {name}\r\n", f"\ufeff{name}")
    answers = [
        log_in(spelling, password, address=f"2001:db8:0:1::{number:x}").status_code
        for number, spelling in enumerate(typed)
    ]
    if password == "Wrong-Pass1":
        assert answers == [200, 200, 200, 200, 429, 429]
        assert log_in(name, P1, address="2001:db8:0:1::ffff").status_code == 429
        assert log_in(name, P1, address="2001:db8:0:2::1").status_code == 302
    else:
        assert answers == [302, 200, 302, 302, 302, 302]


@pytest.mark.parametrize("name", ["a\0b", "a" * 2_000, "\ufdfa" * 2_000, "田中", "\u0e33" * 70_000])
def test_impossible_names_cost_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An impossible name is answered as a wrong password, with no hashing, count or query."""
    monkeypatch.delattr(hashlib, "pbkdf2_hmac")
    page = log_in(name, "Wrong-Pass1").content.decode()
    assert "The user name or the password is wrong." in page
    assert not AccessAttempt.objects.exists()


def test_logins_are_recorded(user: User, caplog: pytest.LogCaptureFixture) -> None:
    """The audit trail and the log say who logged in or tried to, and from where."""
    caplog.set_level("INFO")
    log_in(user.username, "Wrong-Pass1", address="192.0.2.9")
    log_in(user.username, P1, address="192.0.2.9")
    events = AuditEvent.objects.filter(subject=user).order_by("id").values_list("action", "address")
    assert list(events) == [("login.refused", "192.0.2.9"), ("login.accepted", "192.0.2.9")]
    for outcome in ("refused: wrong password for", "accepted:"):
        assert f"console login {outcome} user {user.pk} from 192.0.2.9" in caplog.text
    assert user.username not in caplog.text


def test_nothing_typed_is_kept() -> None:
    """A lockout does not tell who exists; a password typed as user name is in none of its rows."""
    for _ in range(lockout.LIMIT_USER_AND_ADDRESS):
        last = log_in("My-Secret-Passw0rd", "My-Secret-Passw0rd")
    assert last.status_code == 429
    kept = str(list(AccessAttempt.objects.values()))
    assert "Secret" not in kept
    assert lockout.key("My-Secret-Passw0rd") in kept


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


def test_a_success_clears_only_its_own_failures(make_user: MakeUser) -> None:
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


def test_a_full_queue_says_busy(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full queue for hashing is reported as busy, and counts as no wrong password."""
    with monkeypatch.context() as patch:
        patch.setattr(hashing, "QUEUE_PER_CORE", -1)
        answer = log_in(user.username, P1)
        assert answer.status_code == 503
        assert "The server is busy" in answer.content.decode()
        assert answer.headers["Retry-After"]
    assert not AccessAttempt.objects.exists()
    assert log_in(user.username, P1).status_code == 302


def test_a_temporary_password_ends(make_user: MakeUser) -> None:
    """Until its end it opens the console; later the page says that it has ended."""
    user = make_user(must_change_password=True)
    clock.move(timedelta(days=config.current().temporary_password_days, seconds=-5))
    assert log_in(user.username, P1).status_code == 302
    clock.move(timedelta(seconds=10))
    assert "has ended" in page(log_in(user.username, P1))
    assert "has ended" not in page(log_in(user.username, P2))
    assert log_in(make_user().username, P1).status_code == 302


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
            ("<slug:action>", "disable"),
            ("<slug:change_id>", "0" * 32),
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
    "/app/worker.js",
}
"""What anybody may open."""


@pytest.mark.parametrize("path", _patterns())
def test_everything_else_needs_a_login(path: str) -> None:
    """Pages are closed unless listed here."""
    answer = new_client().get(path)
    if path in OPEN:
        assert answer.status_code in {200, 302, 405}
        assert "login" not in answer.headers.get("Location", "")
    elif "live/" in path:
        assert answer.status_code == 401
    else:
        assert answer.status_code == 302
        assert "/login/" in answer.headers["Location"]


OPEN_WITH_TEMPORARY_PASSWORD = {
    "/password/", "/live/push/", "/password/rules/", "/language/", "/logout/", "/app/logout/",
    "/app/manifest.webmanifest", "/app/worker.js",
}  # fmt: skip


@pytest.mark.parametrize("path", _patterns())
def test_a_temporary_password_opens_only_its_change(
    browse: Browse, make_user: MakeUser, path: str
) -> None:
    """Whatever is opened with a temporary password leads to its change."""
    user = make_user(must_change_password=True, role=User.Role.ADMINISTRATOR)
    client = browse(user)
    answer = client.get(path)
    if path in OPEN_WITH_TEMPORARY_PASSWORD:
        assert answer.status_code in {200, 302, 405}
        assert answer.headers.get("Location") != "/password/"
    else:
        assert answer.headers["Location"] == "/password/"
        assert client.post(path, {"code": "BCDF2345"}).headers["Location"] == "/password/"


def test_a_session_ends_without_use(
    browse: Browse, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hours after the last page, polls not counted; scripts and other sites get no cookie."""
    client, started = browse(), time.time()
    client.post("/login/", {"username": user.username, "password": P1})
    cookie = client.cookies["sessionid"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert int(cookie["max-age"]) == sessions.IDLE_S
    monkeypatch.setattr(sessions, "time", lambda: started + 3600)
    assert client.get("/live/pcs/").status_code == 200
    assert _session_ends(client) < started + sessions.IDLE_S + 60
    assert client.get("/").status_code == 200
    assert _session_ends(client) > started + sessions.IDLE_S - 60


def test_a_session_ends_at_the_latest(
    browse: Browse, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve hours after the login, however much it is used."""
    client, started = browse(user), time.time()
    monkeypatch.setattr(sessions, "time", lambda: started + 11 * 3600)
    client.get("/")
    assert client.cookies["sessionid"]["max-age"] in {3599, 3600}
    assert _session_ends(client) < started + 3600 + 60


def _session_ends(client: Client) -> float:
    key = sessions.digest(client.cookies["sessionid"].value)
    return Session.objects.get(session_key=key).expire_date.timestamp()
