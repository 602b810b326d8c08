"""A new PC by a code: type the code, compare the words, type the password, watch the result."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.test import Client

from protocol.messages import Paired
from protocol.pairing import format_code, words
from protocol.sealing import SealError, new_device_key, open_sealed
from server import clock
from server.console import hashing, lockout, pairings
from server.console.models import AuditEvent, Pairing, User
from tests.support.console_client import (
    Browse,
    actions,
    at_once,
    change,
    new_client,
    page,
    run_before,
)
from tests.support.server_fixtures import P1, P2, MakePairing, MakeUser

PATHS = ("/pcs/new/", "/app/new/")
UNKNOWN = "No PC shows this code now"
ACCEPTED = "pairing.accepted"
NAME = "NEW & <PC>"


@pytest.fixture
def pc(make_pairing: MakePairing) -> Pairing:
    return make_pairing()


def type_code(client: Client, code: str, path: str = PATHS[0]) -> str:
    """Type a code. Return the page that comes next."""
    return page(client.post(path, {"code": code}, follow=True))


def confirm(client: Client, pc: Pairing, password: str = P1, path: str = PATHS[0]) -> Any:
    """Send the password for the PC on the second page. Return the response."""
    return client.post(f"{path}check/", {"pc": pc.change_id, "current_password": password})


def guess(user: User, address: str = "127.0.0.1") -> str:
    """Try a code that no PC shows. Return the name of the exception."""
    with pytest.raises((pairings.UnknownCode, lockout.TooManyCodes)) as refused:
        pairings.find(user, "BBBBBBBB", address=address)
    return refused.typename


@pytest.mark.parametrize(
    ("path", "role", "language"), [(PATHS[0], "administrator", "en"), (PATHS[1], "user", "ja")]
)
def test_from_the_code_to_the_result(
    browse: Browse,
    request: pytest.FixtureRequest,
    make_pairing: MakePairing,
    *,
    path: str,
    role: str,
    language: str,
) -> None:
    """Only the PC with the code can open the user's password; the audit trail names that PC.

    The words are in the language of the page; the other language is beside them.
    """
    by: User = request.getfixturevalue(role)
    key = new_device_key()
    pc, client = make_pairing(key), browse(by, language=language)
    assert f'href="{path}"' in page(client.get("/app/" if "app" in path else "/"))
    warning = {"en": "on the screen of your own PC", "ja": "ご自身のPC"}[language]
    assert warning in page(client.get(path))
    shown = type_code(client, f" {format_code(pc.code).lower()} ", path)
    for fact in ("NEW &amp; &lt;PC&gt;", "Windows 11 Pro", "192.0.2.77", "coconowork client 1.2.3"):
        assert fact in shown
    compared = re.findall(r'<li>(\w+) <small lang="(\w+)">(\w+)</small>', shown)
    expected = [(word.en, "ja", word.ja) for word in words(pc.code, pc.public_key)]
    if language == "ja":
        expected = [(ja, "en", en) for en, _, ja in expected]
    assert compared == expected
    answer = confirm(client, pc, path=path)
    assert page(client.get(answer.headers["Location"]))
    pc.refresh_from_db()
    assert pc.user == by
    paired = Paired(change_id=pc.change_id, user=by.username, sealed=pc.sealed)
    assert open_sealed(paired, device_key=key).password == P1
    with pytest.raises(SealError):
        open_sealed(paired, device_key=new_device_key())
    event = AuditEvent.objects.get(subject=by, action=ACCEPTED)
    assert (event.actor, event.address) == (by, "127.0.0.1")
    assert event.detail == {"device": NAME, "pc_address": "192.0.2.77", "device_id": pc.device_id}
    if role == "administrator":
        assert "NEW &amp; &lt;PC&gt;; 192.0.2.77" in page(client.get("/audit/"))


def gone(pc: Pairing, _: object = None) -> None:
    Pairing.objects.filter(pk=pc.pk).delete()


def expired(pc: Pairing, _: object = None) -> None:
    Pairing.objects.filter(pk=pc.pk).update(expires_at=clock.now() - timedelta(seconds=1))


def used(pc: Pairing, _: object = None) -> None:
    Pairing.objects.filter(pk=pc.pk).update(user=User.objects.first(), delivered_at=clock.now())


@pytest.mark.parametrize("happened", [gone, expired, used])
def test_codes_that_lead_to_no_pc(
    mine: Client, pc: Pairing, monkeypatch: pytest.MonkeyPatch, happened: Callable[[Pairing], None]
) -> None:
    """All unusable codes get the same error at the field, and no words are computed."""
    happened(pc)
    monkeypatch.delattr("server.console.views.new_pc.words")
    assert UNKNOWN in type_code(mine, pc.code).partition('id="id_code_error"')[2]
    assert AccessAttempt.objects.get(user_agent="code").failures_since_start == 1


@pytest.mark.parametrize("typed", ["", "BCDF234", "あ" * 8, "BCDF2345" * 9, "BCDF234\0"])
def test_what_is_no_code(mine: Client, typed: str) -> None:
    """Text that cannot be a code is refused at once, and does not count as a guess."""
    assert 'id="id_code_error"' in type_code(mine, typed)
    assert not AccessAttempt.objects.exists()


def test_guesses_end(browse: Browse, user: User, mine: Client, pc: Pairing) -> None:
    """After ten wrong codes even a right one is refused for an hour, also after a login."""
    answers = at_once([lambda: guess(user)] * 40)
    assert answers.count("UnknownCode") == lockout.LIMIT_CODES
    [counted] = AccessAttempt.objects.all()
    assert counted.failures_since_start == lockout.LIMIT_CODES
    assert browse().post("/login/", {"username": user.username, "password": P1}).status_code == 302
    answer = mine.post(PATHS[0], {"code": pc.code})
    assert answer.status_code == 429
    error = answer.content.decode().partition('id="id_code_error"')[2]
    assert re.search(r"Too many wrong codes. Please wait (59|60) minutes", error)
    assert actions(user).count("pairing.locked") == 1
    AccessAttempt.objects.update(attempt_time=counted.attempt_time - lockout.CODE_WINDOW)
    assert NAME.partition(" ")[0] in type_code(mine, pc.code)


def test_guesses_of_many_users_at_one_address(
    make_user: MakeUser, pc: Pairing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong codes are limited per address, too (IPv6: per /64); logins there are not affected."""
    monkeypatch.setattr(lockout, "LIMIT_ADDRESS", 3)
    *guessers, user = (make_user() for _ in range(4))
    for number, guesser in enumerate(guessers):
        assert guess(guesser, f"2001:db8::{number}") == "UnknownCode"
    with pytest.raises(lockout.TooManyCodes):
        pairings.find(user, pc.code, address="2001:db8::9")
    assert pairings.find(user, pc.code, address="2001:db8:1::9") == pc
    form = {"username": guessers[0].username, "password": P1}
    assert new_client(address="2001:db8::9").post("/login/", form).status_code == 302


def test_a_full_queue_says_busy(mine: Client, pc: Pairing, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the queue of hashes is full, the page says so, and the code may be typed again."""
    with monkeypatch.context() as patch:
        patch.setattr(hashing, "QUEUE_PER_CORE", -1)
        assert mine.post(PATHS[0], {"code": pc.code}).status_code == 503
    assert "four words" in type_code(mine, pc.code)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    ("happens", "before", "after"),
    [
        (gone, UNKNOWN, UNKNOWN),
        (expired, UNKNOWN, UNKNOWN),
        (used, UNKNOWN, UNKNOWN),
        (lambda _, user: change(user, P2), "/login/", "just been changed elsewhere"),
        (lambda _, rows: rows.update(is_active=False), "/login/", "You may not open this page."),
        (lambda _, rows: rows.delete(), "/login/", "There is no such page."),
    ],
    ids=["gone", "expired", "used", "changed", "disabled", "deleted"],
)
def test_what_happens_at_the_same_moment(
    mine: Client,
    user: User,
    make_user: MakeUser,
    pc: Pairing,
    monkeypatch: pytest.MonkeyPatch,
    *,
    happens: Callable[[Pairing, Any], object],
    before: str,
    after: str,
    moment: str,
) -> None:
    """An event before the form or after its check: nothing is sealed, and the page says why."""
    make_user()  # the user who, in one case, has used the code
    type_code(mine, pc.code)
    owner: Any = user if "changed" in after else User.objects.filter(pk=user.pk)
    if moment == "before":
        happens(pc, owner)
    else:
        run_before(monkeypatch, pairings, "accept", lambda *_, **__: happens(pc, owner))
    answer = confirm(mine, pc)
    said = answer.headers.get("Location", "") + answer.content.decode()
    assert (before if moment == "before" else after) in said
    assert not Pairing.objects.filter(pk=pc.pk).exclude(sealed="").exists()
    assert ACCEPTED not in actions(user)


def test_another_window(mine: Client, user: User, pc: Pairing, make_pairing: MakePairing) -> None:
    """The password is sealed for the PC that the page has shown, or for none."""
    shown = make_pairing()
    assert mine.get("/pcs/new/check/").headers["Location"] == PATHS[0]
    for each in (pc, shown):
        type_code(mine, each.code)
    assert UNKNOWN in page(confirm(mine, pc))
    assert UNKNOWN in page(mine.post("/pcs/new/check/", {"current_password": P1}))
    assert confirm(mine, shown).status_code == 302
    assert list(Pairing.objects.filter(user=user)) == [shown]


def test_two_users_type_one_code(make_user: MakeUser, make_pairing: MakePairing) -> None:
    """Only the first of two users gets the PC; the code is unknown to the second."""

    def accept(user: User, pc: Pairing) -> str:
        try:
            return pairings.accept(user, pc, password=P1).subject_name
        except pairings.UnknownCode:
            return ""

    for _ in range(5):
        pc, users = make_pairing(), [make_user() for _ in range(2)]
        outcomes = at_once([partial(accept, user, pc) for user in users])
        pc.refresh_from_db()
        assert outcomes == [user.username if user == pc.user else "" for user in users]
        assert [ACCEPTED in actions(user) for user in users] == [user == pc.user for user in users]
        assert pc.user in users


@pytest.mark.parametrize(
    ("row", "minutes", "said", "final"),
    [
        ("open", 0, "On its way", False),
        ("open", 11, "its code has expired", False),
        ("delivered", 9, "The PC asks whether it is to connect as", False),
        ("delivered", 11, "its code has expired", False),
        ("gone", 1, "The PC has gone", True),
        ("gone", 11, "its code has expired", False),
        ("device", 2000, "The PC has logged in as you.", True),
        ("known before", 0, "The PC has logged in as you.", True),
        ("waits already", 11, "its code has expired", False),
    ],
)
def test_states_of_the_result(
    browse: Browse,
    user: User,
    pc: Pairing,
    make_device: Callable[..., object],
    *,
    row: str,
    minutes: int,
    said: str,
    final: bool,
) -> None:
    """The result's page and its live part show the same state, in console and smartphone page."""
    event, now = pairings.accept(user, pc, password=P1), clock.now()
    rows = Pairing.objects.filter(pk=pc.pk)
    match row:
        case "delivered":
            rows.update(delivered_at=now)
        case "gone":
            rows.delete()
        case "device":
            rows.delete()
            make_device(user, device_id=pc.device_id)
        case "known before" | "waits already":
            days = timedelta(days=row == "waits already")
            make_device(user, name=NAME, waiting_since=now - days)
    clock.move(timedelta(minutes=minutes))
    client = browse(user)
    for path, start in (("/pcs/new/", "/live/pcs/new/"), ("/app/new/", "/app/live/new/")):
        whole = page(client.get(f"{path}{event.pk}/"))
        for text in (whole, client.get(f"{start}{event.pk}/").json()["html"]):
            assert said in text
            assert ("data-settled" in text) is final
            assert (f'href="{path}"' in text) is ("Not connected" in text)
        assert f'data-live="{start}{event.pk}/"' in whole
