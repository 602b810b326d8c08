"""Logging in to the console: who may, what strangers learn, when guessing is locked out."""

from __future__ import annotations

import hashlib
import time
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib.sessions.models import Session
from django.db.models import F

from server import clock, config
from server.console import hashing, lockout, sessions
from server.console.models import AuditEvent, User
from tests.support.console_client import actions, at_once, change, new_client, page, run_before
from tests.support.server_fixtures import P1, P2, MakeUser

WRONG = "Wrong-Pass1"


def log_in(username: str, password: str = WRONG, *, path: str = "/login/", **more: Any) -> Any:
    return new_client(**more).post(path, {"username": username, "password": password})


def status(username: str, password: str = WRONG, **more: Any) -> int:
    return int(log_in(username, password, **more).status_code)


def test_old_password_is_refused(user: User) -> None:
    """Console and smartphone page refuse an old password, which clients may still use."""
    change(user, P2)
    for path in ("/login/", "/app/login/"):
        assert status(user.username, P1, path=path) == 200
    assert log_in(user.username, P2, path="/app/login/").headers["Location"] == "/app/"


def test_strangers_learn_nothing(make_user: MakeUser, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong password, an unknown user and a disabled one get the same page, at the same cost."""
    known, disabled = make_user().username, make_user(is_active=False).username
    strange = "\u0000\ufffe\U000e0001"
    hashed: list[int] = []
    original = hashlib.pbkdf2_hmac

    def counted(name: str, password: bytes, salt: bytes, iterations: int) -> bytes:
        hashed.append(iterations)
        return original(name, password, salt, iterations)

    def answer(username: str, password: str) -> tuple[list[int], int]:
        hashed.clear()
        text = page(log_in(username, password))
        assert password not in text
        return hashed.copy(), text.replace(username, "").count("is wrong")

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", counted)
    for username, password in ((known, WRONG), ("unknown-user", WRONG), (disabled, P1)):
        assert answer(username, password) == ([600_000], 1)
    of_known, of_unknown = answer(known, strange), answer("unknown-user", strange)
    assert of_known == of_unknown
    assert of_known[0] in ([], [600_000])  # a password with a NUL is refused before hashing


def test_guessing_ends(user: User) -> None:
    """After five wrong passwords from one address, the right one is refused there, too."""
    name = user.username
    assert [status(name) for _ in range(5)] == [200, 200, 200, 200, 429]
    assert status(name, P1) == status(name.upper(), P1) == 429
    assert status(name, P1, address="192.0.2.1") == 302
    assert actions(user).count("login.locked") == 1
    AccessAttempt.objects.update(attempt_time=F("attempt_time") - lockout.WINDOW)
    assert status(name, P1) == 302
    assert [status(name) for _ in range(5)][-1] == 429
    lockout.unlock(user)
    assert status(name, P1) == 302


@pytest.mark.parametrize("password", [WRONG, P1 + "\r\n"])
def test_typed_names_find_their_user(user: User, password: str) -> None:
    """Names in full width or with invisible characters log in; the lockout ignores case, too."""
    name = user.username
    wide = "".join(chr(ord(character) + 0xFEE0) for character in name)
    typed = (wide, name.upper(), f"\u00ad{name}", f"{name}\u200b", f" {name}\r\n", f"\ufeff{name}")
    answers = [
        status(spelling, password, address=f"2001:db8:0:1::{number:x}")
        for number, spelling in enumerate(typed)
    ]
    if password == WRONG:
        assert answers == [200, 200, 200, 200, 429, 429]
        assert status(name, P1, address="2001:db8:0:1::ffff") == 429
        assert status(name, P1, address="2001:db8:0:2::1") == 302
    else:
        assert answers == [302, 200, 302, 302, 302, 302]


@pytest.mark.parametrize("name", ["a\0b", "田中", "\u0e33" * 70_000])
def test_impossible_names_cost_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An impossible name gets the answer for a wrong password, without hashing, count or query."""
    monkeypatch.delattr(hashlib, "pbkdf2_hmac")
    assert "The user name or the password is wrong." in page(log_in(name))
    assert not AccessAttempt.objects.exists()


def test_logins_are_recorded(user: User, caplog: pytest.LogCaptureFixture) -> None:
    """The audit trail and the log say who logged in or tried to, and from where."""
    caplog.set_level("INFO")
    log_in(user.username, address="192.0.2.9")
    log_in(user.username, P1, address="192.0.2.9")
    events = AuditEvent.objects.filter(subject=user).order_by("id").values_list("action", "address")
    assert list(events) == [("login.refused", "192.0.2.9"), ("login.accepted", "192.0.2.9")]
    for outcome in ("refused: wrong password for", "accepted:"):
        assert f"console login {outcome} user {user.pk} from 192.0.2.9" in caplog.text
    assert user.username not in caplog.text


def test_nothing_typed_is_kept() -> None:
    """An unknown name is locked out, too; the lockout's rows do not hold the name as typed."""
    for _ in range(lockout.LIMIT_USER_AND_ADDRESS):
        last = status("My-Secret-Passw0rd", "My-Secret-Passw0rd")
    assert last == 429
    kept = str(list(AccessAttempt.objects.values()))
    assert "Secret" not in kept
    assert lockout.key("My-Secret-Passw0rd") in kept


def test_guessing_from_many_addresses_ends(user: User) -> None:
    """At most 30 wrong passwords are checked for one user, from all addresses together."""
    for number in range(lockout.LIMIT_USER):
        last = status(user.username, address=f"198.51.100.{number}")
    assert last == status(user.username, P1, address="203.0.113.1") == 429


def test_guessing_many_users_ends(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """One address has `LIMIT_ADDRESS` wrong guesses for all users together; here 8."""
    monkeypatch.setattr(lockout, "LIMIT_ADDRESS", 8)
    for number in range(lockout.LIMIT_ADDRESS):
        last = status(f"name{number}", address="198.51.100.200")
    assert last == status(user.username, P1, address="198.51.100.200") == 429
    assert status(user.username, P1) == 302


def test_a_success_clears_only_its_own_failures(make_user: MakeUser) -> None:
    """A successful login does not reset the count of wrong passwords for another user."""
    victim, guesser = make_user(), make_user()
    for _ in range(lockout.LIMIT_USER_AND_ADDRESS - 1):
        status(victim.username)
    assert status(guesser.username, P1) == 302
    assert status(victim.username) == 429


def test_a_salvo_is_counted(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of twenty guesses at the same time no more than five are checked."""
    checked = run_before(monkeypatch, hashing, "run", lambda *_, **__: time.sleep(0.3))
    answers = at_once([partial(status, user.username, f"{WRONG}{number}") for number in range(20)])
    assert answers.count(200) == lockout.LIMIT_USER_AND_ADDRESS - 1
    assert len(checked) == lockout.LIMIT_USER_AND_ADDRESS


def test_a_temporary_password_ends(make_user: MakeUser) -> None:
    """A temporary password opens the console until its end; then the page says that it ended."""
    user = make_user(must_change_password=True)
    clock.move(timedelta(days=config.current().temporary_password_days, seconds=-5))
    assert status(user.username, P1) == 302
    clock.move(timedelta(seconds=10))
    assert "has ended" in page(log_in(user.username, P1))
    assert "has ended" not in page(log_in(user.username, P2))
    assert status(make_user().username, P1) == 302


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "javascript:x"])
def test_no_open_redirect(user: User, target: str) -> None:
    """`next` never redirects to another site."""
    form = {"username": user.username, "password": P1, "next": target}
    assert new_client().post("/login/", form).headers["Location"] == "/"


def test_a_session_ends(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session ends 2 h after the last page, polls not counted, and 12 h after the login.

    Scripts and other sites do not get the cookie.
    """
    client, started = new_client(), time.time()

    def end_after(path: str, hours: float) -> float:
        """Open `path` `hours` after the login. Return the hours until the session ends."""
        monkeypatch.setattr(sessions, "time", lambda: started + hours * 3600)
        assert client.get(path).status_code == 200
        key = sessions.digest(client.cookies["sessionid"].value)
        return (Session.objects.get(session_key=key).expire_date.timestamp() - time.time()) / 3600

    client.post("/login/", {"username": user.username, "password": P1})
    cookie = client.cookies["sessionid"]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
    assert int(cookie["max-age"]) == sessions.IDLE_S
    assert end_after("/live/pcs/", 1) == pytest.approx(2, abs=0.05)  # not extended by a poll
    for hours, left in ((1, 2), (11, 1)):
        end_after("/", hours)
        assert client.cookies["sessionid"]["max-age"] == pytest.approx(left * 3600, abs=60)
