"""A new PC by a code: type the code, compare the words, type the password, watch the result."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.db import connection
from django.test import Client

from protocol.messages import Paired
from protocol.pairing import format_code, words
from protocol.sealing import SealError, new_device_key, open_sealed
from server import clock
from server.console import hashing, lockout, pairings, passwords
from server.console.models import AuditEvent, Pairing, User
from tests.support.console_client import Browse, new_client, page
from tests.support.server_fixtures import P1, P2, P3, MakePairing, MakeUser

PATHS = ("/pcs/new/", "/app/new/")
UNKNOWN = "No PC shows this code now"
NAME = "NEW & <PC>"


@pytest.fixture
def pc(make_pairing: MakePairing) -> Pairing:
    return make_pairing()


@pytest.fixture
def mine(browse: Browse, user: User) -> Client:
    """Return a browser in which the user has logged in."""
    return browse(user)


def type_code(client: Client, code: str, path: str = PATHS[0]) -> str:
    """Type a code. Return the page that comes next."""
    return page(client.post(path, {"code": code}, follow=True))


def confirm(client: Client, pc: Pairing, password: str = P1, path: str = PATHS[0]) -> Any:
    """Send the password for the PC on the second page. Return the response."""
    return client.post(f"{path}check/", {"pc": pc.change_id, "current_password": password})


def accepted(user: User) -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(subject=user, action="pairing.accepted"))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("role", ["user", "administrator"])
def test_from_the_code_to_the_result(
    browse: Browse,
    request: pytest.FixtureRequest,
    make_pairing: MakePairing,
    path: str,
    role: str,
) -> None:
    """Only the PC with the code can open the user's password; the trail says where it went."""
    by: User = request.getfixturevalue(role)
    key = new_device_key()
    pc, client = make_pairing(key), browse(by)
    assert f'href="{path}"' in page(client.get("/app/" if "app" in path else "/"))
    assert "on the screen of your own PC" in page(client.get(path))
    shown = type_code(client, f" {format_code(pc.code).lower()} ", path)
    for fact in ("NEW &amp; &lt;PC&gt;", "Windows 11 Pro", "192.0.2.77", "coconowork client 1.2.3"):
        assert fact in shown
    compared = re.findall(r'<li>(\w+) <small lang="ja">(\w+)</small>', shown)
    assert compared == [tuple(word) for word in words(pc.code, pc.public_key)]
    answer = confirm(client, pc, path=path)
    assert "On its way" in page(client.get(answer.headers["Location"]))
    pc.refresh_from_db()
    assert pc.user == by
    paired = Paired(change_id=pc.change_id, user=by.username, sealed=pc.sealed)
    assert open_sealed(paired, device_key=key).password == P1
    with pytest.raises(SealError):
        open_sealed(paired, device_key=new_device_key())
    [event] = accepted(by)
    assert (event.actor, event.address) == (by, "127.0.0.1")
    assert event.detail == {"device": NAME, "pc_address": "192.0.2.77", "device_id": pc.device_id}
    if role == "administrator":
        assert "NEW &amp; &lt;PC&gt;; 192.0.2.77" in page(client.get("/audit/"))


def test_the_words_are_in_the_language_of_the_page(browse: Browse, user: User, pc: Pairing) -> None:
    """The other language is beside them, for a PC that speaks it."""
    text = type_code(browse(user, language="ja"), pc.code)
    shown = re.findall(r'<li>(\w+) <small lang="en">(\w+)</small>', text)
    assert shown == [(word.ja, word.en) for word in words(pc.code, pc.public_key)]


def gone(pc: Pairing) -> None:
    Pairing.objects.filter(pk=pc.pk).delete()


def expired(pc: Pairing) -> None:
    Pairing.objects.filter(pk=pc.pk).update(expires_at=clock.now() - timedelta(seconds=1))


def used(pc: Pairing, **more: Any) -> None:
    Pairing.objects.filter(pk=pc.pk).update(user=User.objects.first(), **more)


def replayed(pc: Pairing) -> None:
    used(pc, delivered_at=clock.now())


@pytest.mark.parametrize("happened", [gone, expired, used, replayed])
def test_codes_that_lead_to_no_pc(
    mine: Client, pc: Pairing, monkeypatch: pytest.MonkeyPatch, happened: Callable[[Pairing], None]
) -> None:
    """One sentence for all of them, beside the field, and no words are computed."""
    happened(pc)
    monkeypatch.delattr("server.console.views.new_pc.words")
    text = type_code(mine, pc.code)
    assert UNKNOWN in text.partition('id="id_code_error"')[2]
    assert AccessAttempt.objects.get(user_agent="code").failures_since_start == 1


@pytest.mark.parametrize("typed", ["", "BCDF234", "あ" * 8, "BCDF2345" * 9, "BCDF234\0"])
def test_what_is_no_code(mine: Client, typed: str) -> None:
    """The page says so at once; it is no guess."""
    assert 'id="id_code_error"' in type_code(mine, typed)
    assert not AccessAttempt.objects.exists()


def test_guesses_end(browse: Browse, user: User, mine: Client, pc: Pairing) -> None:
    """After ten of them no code is taken for an hour, not even a right one, nor after a login."""
    for _ in range(2 * lockout.LIMIT_CODES):
        with pytest.raises((pairings.UnknownCode, lockout.TooManyCodes)):
            pairings.find(user, "BBBBBBBB", address="127.0.0.1")
    [counted] = AccessAttempt.objects.all()
    assert counted.failures_since_start == lockout.LIMIT_CODES
    assert browse().post("/login/", {"username": user.username, "password": P1}).status_code == 302
    answer = mine.post(PATHS[0], {"code": pc.code})
    assert answer.status_code == 429
    error = answer.content.decode().partition('id="id_code_error"')[2]
    assert re.search(r"Too many wrong codes. Please wait (59|60) minutes", error)
    [event] = AuditEvent.objects.filter(subject=user, action="pairing.locked")
    assert event.actor == user
    an_hour_ago = counted.attempt_time - lockout.CODE_WINDOW
    AccessAttempt.objects.update(attempt_time=an_hour_ago)
    assert NAME.partition(" ")[0] in type_code(mine, pc.code)


def test_a_salvo_is_counted(user: User) -> None:
    """Guesses at the same time are no more than ten."""

    def guess(_: int) -> str:
        try:
            pairings.find(user, "BBBBBBBB", address="192.0.2.1")
        except (pairings.UnknownCode, lockout.TooManyCodes) as refused:
            return type(refused).__name__
        finally:
            connection.close()
        return "found"

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(guess, range(40)))
    assert answers.count("UnknownCode") == lockout.LIMIT_CODES
    assert answers.count("TooManyCodes") == 40 - lockout.LIMIT_CODES


def test_guesses_of_many_users_at_one_address(
    make_user: MakeUser, pc: Pairing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address has a limit, too, and an IPv6 /64 counts as one; logins there are not affected."""
    monkeypatch.setattr(lockout, "LIMIT_ADDRESS", 3)
    users = [make_user() for _ in range(4)]
    for number, guesser in enumerate(users[:3]):
        with pytest.raises(pairings.UnknownCode):
            pairings.find(guesser, "BBBBBBBB", address=f"2001:db8::{number}")
    with pytest.raises(lockout.TooManyCodes):
        pairings.find(users[3], pc.code, address="2001:db8::9")
    assert pairings.find(users[3], pc.code, address="2001:db8:1::9") == pc
    form = {"username": users[0].username, "password": P1}
    assert new_client(address="2001:db8::9").post("/login/", form).status_code == 302


def test_wrong_passwords_count_as_at_a_login(mine: Client, user: User, pc: Pairing) -> None:
    """The page shows the PC again; the lockout is the one of logins; nothing is sealed."""
    type_code(mine, pc.code)
    for _ in range(lockout.LIMIT_USER_AND_ADDRESS - 1):
        text = page(confirm(mine, pc, P3))
        error = text.partition('id="id_current_password_error"')[2]
        assert "The current password is wrong." in error
        assert "four words" in text
    assert confirm(mine, pc, P3).status_code == 429
    assert confirm(mine, pc).status_code == 429
    pc.refresh_from_db()
    assert (pc.user, pc.sealed, accepted(user)) == (None, "", [])


def test_a_full_queue_says_busy(mine: Client, pc: Pairing, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words wait in the queue of hashes; when it is full, the code may be typed again."""
    with monkeypatch.context() as patch:
        patch.setattr(hashing, "QUEUE_PER_CORE", -1)
        answer = mine.post(PATHS[0], {"code": pc.code})
    assert answer.status_code == 503
    assert "four words" in type_code(mine, pc.code)


def disabled(pc: Pairing, user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def changed(pc: Pairing, user: User) -> None:
    fresh = User.objects.get(pk=user.pk)
    passwords.change_own(fresh, new_password=P2, push_to=[], address=None)


def forced(pc: Pairing, user: User) -> None:
    passwords.force(user, by=None, new_password=P2, must_change=True, address=None)


def deleted(pc: Pairing, user: User) -> None:
    User.objects.filter(pk=user.pk).delete()


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    ("happens", "before", "after"),
    [
        (lambda pc, _: gone(pc), UNKNOWN, UNKNOWN),
        (lambda pc, _: expired(pc), UNKNOWN, UNKNOWN),
        (lambda pc, _: used(pc), UNKNOWN, UNKNOWN),
        (changed, "/login/", "just been changed elsewhere"),
        (forced, "/login/", "just been changed elsewhere"),
        (disabled, "/login/", "You may not open this page."),
        (deleted, "/login/", "There is no such page."),
    ],
    ids=["gone", "expired", "used", "changed", "forced", "disabled", "deleted"],
)
def test_what_happens_at_the_same_moment(
    mine: Client,
    user: User,
    make_user: MakeUser,
    pc: Pairing,
    monkeypatch: pytest.MonkeyPatch,
    *,
    happens: Callable[[Pairing, User], None],
    before: str,
    after: str,
    moment: str,
) -> None:
    """Before the password is sent, or after its check: nothing is sealed, and the page says why."""
    make_user()  # who has used the code
    type_code(mine, pc.code)
    if moment == "before":
        happens(pc, user)
    else:
        original = pairings.accept

        def late(*args: Any, **arguments: Any) -> AuditEvent:
            happens(pc, user)
            return original(*args, **arguments)

        monkeypatch.setattr(pairings, "accept", late)
    answer = confirm(mine, pc)
    said = answer.headers.get("Location", "") + answer.content.decode()
    assert (before if moment == "before" else after) in said
    assert not Pairing.objects.filter(pk=pc.pk).exclude(sealed="").exists()
    assert accepted(user) == []


def test_another_window(mine: Client, user: User, pc: Pairing, make_pairing: MakePairing) -> None:
    """What is sealed is for the PC that the page has shown, or for none."""
    shown = make_pairing()
    assert mine.get("/pcs/new/check/").headers["Location"] == PATHS[0]
    for each in (pc, shown):
        type_code(mine, each.code)
    assert UNKNOWN in page(confirm(mine, pc))
    assert UNKNOWN in page(mine.post("/pcs/new/check/", {"current_password": P1}))
    assert confirm(mine, shown).status_code == 302
    assert list(Pairing.objects.filter(user=user)) == [shown]


def test_two_users_type_one_code(make_user: MakeUser, make_pairing: MakePairing) -> None:
    """The first one gets the PC; for the other one the code is used."""
    for _ in range(5):
        pc, users = make_pairing(), [make_user() for _ in range(2)]

        def run(user: User, pc: Pairing = pc) -> str:
            try:
                pairings.accept(user, pc, password=P1, address=None)
            except pairings.UnknownCode:
                return "unknown"
            finally:
                connection.close()
            return "accepted"

        with ThreadPoolExecutor(2) as pool:
            outcomes = list(pool.map(run, users))
        assert sorted(outcomes) == ["accepted", "unknown"]
        pc.refresh_from_db()
        assert pc.user == users[outcomes.index("accepted")]
        assert [bool(accepted(user)) for user in users] == [user == pc.user for user in users]


def test_sent_twice(browse: Browse, user: User, pc: Pairing) -> None:
    """Both forms: the second sending gets the first one's answer; one box in all."""
    client = browse(user, csrf=True)
    token = re.search(r'csrfmiddlewaretoken" value="(\w+)"', page(client.get(PATHS[0])))
    assert token
    once = {"csrfmiddlewaretoken": token[1]}
    fields = {"pc": pc.change_id, "current_password": P1}
    for path, form in ((PATHS[0], {"code": pc.code}), ("/pcs/new/check/", fields)):
        first, second = client.post(path, form | once), client.post(path, form | once)
        assert first.status_code == second.status_code == 302
        assert first.headers["Location"] == second.headers["Location"]
        pc.refresh_from_db()
    [event] = accepted(user)
    assert second.headers["Location"] == f"/pcs/new/{event.pk}/"
    assert UNKNOWN in page(client.get("/pcs/new/check/"))  # the back button


@pytest.mark.parametrize(
    ("row", "minutes", "said", "final"),
    [
        ({}, 0, "On its way", False),
        ({}, 11, "its code has expired", False),
        ({"delivered_at": timedelta()}, 9, "The PC asks whether it is to connect as", False),
        ({"delivered_at": timedelta()}, 11, "its code has expired", False),
        (None, 1, "The PC has gone", True),
        (None, 11, "its code has expired", False),
        ("device", 0, "The PC has logged in as you.", True),
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
    row: dict[str, timedelta] | str | None,
    minutes: int,
    said: str,
    final: bool,
) -> None:
    """The page and its live part follow the row and the device; the same in both places."""
    event = pairings.accept(user, pc, password=P1, address=None)
    if row == "device" or row is None:
        Pairing.objects.filter(pk=pc.pk).delete()
    elif isinstance(row, dict):
        Pairing.objects.filter(pk=pc.pk).update(
            **{name: clock.now() + value for name, value in row.items()}
        )
    match row:
        case "device":
            make_device(user, device_id=pc.device_id)
        case "known before":
            make_device(user, name=NAME, waiting_since=clock.now())
        case "waits already":
            make_device(user, name=NAME, waiting_since=event.at - timedelta(days=1))
    clock.move(timedelta(minutes=minutes))
    client = browse(user)
    for path, start in (("/pcs/new/", "/live/pcs/new/"), ("/app/new/", "/app/live/new/")):
        whole = page(client.get(f"{path}{event.pk}/"))
        for text in (whole, client.get(f"{start}{event.pk}/").json()["html"]):
            assert said in text
            assert ("data-settled" in text) is final
            assert (f'href="{path}"' in text) is ("Not connected" in text)
        assert f'data-live="{start}{event.pk}/"' in whole


@pytest.mark.parametrize("who", ["user", "stranger", "administrator"])
def test_other_peoples_results(
    browse: Browse, request: pytest.FixtureRequest, make_user: MakeUser, pc: Pairing, who: str
) -> None:
    """They do not exist, also for an administrator, nor do results of other events."""
    owner = make_user()
    event = pairings.accept(owner, pc, password=P1, address=None)
    client = browse(request.getfixturevalue(who))
    for path in (*PATHS, "/live/pcs/new/", "/app/live/new/"):
        assert client.get(f"{path}{event.pk}/").status_code == 404
    passwords.end_old_passwords(owner, by=owner, address=None)
    passwords.force(owner, by=None, new_password=P2, must_change=False, address=None)
    other = AuditEvent.objects.filter(subject=owner, action="password.forced").get()
    assert browse(User.objects.get(pk=owner.pk)).get(f"/pcs/new/{other.pk}/").status_code == 404
