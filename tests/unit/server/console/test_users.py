"""User management: what administrators see and do, only in their own account."""

from __future__ import annotations

import csv
import io
import re
import secrets
import threading
from datetime import timedelta
from functools import partial

import pytest
from django.test import Client

from server import clock
from server.console import audit, people
from server.console.audit import Action
from server.console.models import AuditEvent, User
from tests.support.console_client import Browse, actions, at_once, change, page, run_before
from tests.support.server_fixtures import P1, P2, MakeDevice, MakeUser


def reload(user: User) -> User:
    return User.objects.get(pk=user.pk)


def forced(**more: object) -> dict[str, object]:
    return {"new_password1": P2, "new_password2": P2, **more}


@pytest.mark.parametrize("must_change", [True, False])
def test_forced_password(client: Client, mine: Client, user: User, *, must_change: bool) -> None:
    """After a forced change the page says what to tell the user; the user's sessions end."""
    answer = client.post(
        f"/users/{user.pk}/", forced(must_change="on") if must_change else forced()
    )
    assert reload(user).check_password(P2)
    assert reload(user).must_change_password is must_change
    assert mine.get("/app/").status_code == 302
    text = page(client.get(answer.headers["Location"]))
    assert "What to tell" in text
    assert ("temporary password" in text) is must_change
    assert P2 not in text


def test_what_cannot_be_forced(client: Client, administrator: User, user: User) -> None:
    """A password against the rules, or one's own, cannot be forced."""
    change(user, P2)
    text = page(client.post(f"/users/{user.pk}/", forced()))
    assert "neither the current password" in text
    assert P2 not in text
    assert 'name="new_password1"' not in page(client.get(f"/users/{administrator.pk}/"))
    client.post(f"/users/{administrator.pk}/", forced())
    assert reload(administrator).check_password(P1)


def test_disconnect_and_allow(mine: Client, user: User, make_device: MakeDevice) -> None:
    """Users disconnect their own PC after a question, and allow it again; both are recorded."""
    path = f"/pcs/{make_device(user).pk}"
    assert "still stored on that PC" in page(mine.get(f"{path}/disconnect/"))
    for _ in range(2):  # the second request changes and records nothing
        assert "Disconnected" in page(mine.post(f"{path}/disconnect/", follow=True))
    assert "Disconnected" not in page(mine.post(f"{path}/allow/", follow=True))
    assert actions(user) == ["device.allowed", "device.blocked"]


def test_disable_and_enable(client: Client, mine: Client, administrator: User, user: User) -> None:
    """Disabling ends the sessions at once; enabling does not bring them back. Others go on."""
    client.post(f"/users/{user.pk}/end-sessions/")
    assert mine.get("/").status_code == 302
    mine.force_login(reload(user))
    assert client.get(f"/users/{user.pk}/disable/").status_code == mine.get("/").status_code == 200
    for action in ("disable", "disable", "enable"):
        client.post(f"/users/{user.pk}/{action}/")
        assert mine.get("/").status_code == 302
    assert reload(user).is_active
    assert actions(user) == ["user.enabled", "user.disabled", "sessions.ended"]
    assert client.post(f"/users/{administrator.pk}/disable/").status_code == 403
    assert reload(administrator).is_active


@pytest.mark.parametrize("action", ["disable", "edit", "delete"])
def test_administrators_act_on_each_other(
    browse: Browse,
    administrator: User,
    make_user: MakeUser,
    monkeypatch: pytest.MonkeyPatch,
    action: str,
) -> None:
    """Of administrators who act on each other at once one succeeds: an administrator stays."""
    other = make_user(role=User.Role.ADMINISTRATOR)
    ready = threading.Barrier(2)
    run_before(monkeypatch, people, "as_administrator", lambda *_: ready.wait(timeout=30))

    def act(by: User, other: User) -> int:
        path = f"/users/{other.pk}/{action}/"
        return browse(by).post(path, {"role": "general"}).status_code

    pairs = ((administrator, other), (other, administrator))
    answers = at_once([partial(act, *pair) for pair in pairs])
    left = User.objects.filter(account=administrator.account, role="administrator", is_active=True)
    assert left.count() == 1
    assert sorted(answers) in ([302, 403], [302, 404])


def test_create(client: Client, administrator: User) -> None:
    """The answer shows the temporary password, only once, and the user must change it."""
    name = f"new.{secrets.token_hex(4)}"
    fields = {"username": name, "display_name": "新人", "role": "general"}
    text = page(client.post("/users/new/", fields))
    [password] = re.findall(r'<code id="temporary">([^<]+)</code>', text)
    made = User.objects.get(username=name)
    assert made.account == administrator.account
    assert made.check_password(password)
    assert made.must_change_password
    assert password not in page(client.get(f"/users/{made.pk}/"))
    assert password not in str(list(AuditEvent.objects.filter(subject=made).values()))


@pytest.mark.parametrize("name", ["", "a b", "-a", "田中", "a" * 65, "a\0b", "＝a", None])
def test_bad_user_names(client: Client, stranger: User, name: str | None) -> None:
    """A bad name, or one taken in any case or account, is an error at the field, and no user."""
    before = User.objects.count()
    fields = {"username": stranger.username.upper() if name is None else name, "role": "general"}
    text = page(client.post("/users/new/", fields))
    assert 'id="id_username_error"' in text
    assert ("is taken" in text) is (name is None)
    assert User.objects.count() == before


def test_names_are_text(client: Client, make_user: MakeUser) -> None:
    """Markup in names, from people or from PCs, stays text."""
    evil = "<img src=x onerror=alert(1)>"
    user = make_user(display_name=evil)
    audit.record(Action.DEVICE_BLOCKED, actor=user, subject=user, device=evil)
    for path in (f"/users/?q={user.username}", f"/users/{user.pk}/", "/audit/"):
        text = page(client.get(path))
        assert "<img src=x" not in text
        assert "&lt;img src=x" in text


def test_old_passwords(
    client: Client, administrator: User, user: User, make_device: MakeDevice
) -> None:
    """Old passwords are listed by their end, soonest first; also as CSV, and by user."""
    now = clock.now()

    def on_old(name: str, days: int, **more: object) -> str:
        until = now + timedelta(days=days)
        make_device(user, name=name, login_password="old", login_valid_until=until, **more)
        return page(client.get("/users/?state=old"))

    assert "9 days left" in on_old("=HYPERLINK(1)", 9)
    on_old("PC-SOON", 2, warned="shown", warned_at=now)
    make_device(user, name="PC-FINE")
    text = page(client.get("/old-passwords/"))
    assert text.index("PC-SOON") < text.index("=HYPERLINK(1)")
    assert "2 days left" in text
    assert "PC-FINE" not in text
    answer = client.get("/old-passwords.csv")
    assert answer.headers["Content-Disposition"].startswith("attachment")
    _, *rows = csv.reader(io.StringIO(answer.getvalue().decode("utf-8-sig")))
    shown = [[row[2], *row[5:7]] for row in rows]
    assert shown == [["PC-SOON", "2", "shown"], ["'=HYPERLINK(1)", "9", "not yet"]]
    # The list of users shows the PC with the least time left, or whose time is over.
    for days, said in ((1, "1 day left"), (-1, "no longer valid")):
        text = on_old("PC", days)
        assert said in text
        assert user.username in text
        assert f">{administrator.username}</a>" not in text


def test_audit_filters(client: Client, administrator: User, make_user: MakeUser) -> None:
    """The audit trail is filtered by name, action and day; a wrong filter shows no events."""
    user = make_user(username=f"tanaka{secrets.token_hex(4)}")
    other = make_user(username=f"{user.username}2")
    for each, address in ((user, "192.0.2.1"), (other, "192.0.2.2")):
        audit.record(Action.USER_ENABLED, actor=administrator, subject=each, address=address)
    links = re.findall(r'href="/audit/\?([^"]*)"', page(client.get(f"/users/{user.pk}/")))
    of_user = links[-1].replace("&amp;", "&")
    today, two_days = clock.now().date(), timedelta(days=2)
    for query, shown in (
        (of_user, True),
        (f"q={user.username}", True),
        ("q=unknown", False),
        ("action=user.enabled", True),
        ("action=user.disabled", False),
        ("action=nonsense", False),
        (f"since={today - two_days}&until={today + two_days}", True),
        (f"since={today + two_days}", False),
        (f"until={today - two_days}", False),
        ("since=yesterday", False),
        ("page=99999", True),
        ("page=x", True),
    ):
        text = page(client.get(f"/audit/?{query}"))
        assert ("192.0.2.1" in text) is shown, query
        assert ("192.0.2.2" in text) is (shown and query != of_user), query


def test_search_as_people_type(client: Client, make_user: MakeUser) -> None:
    """A search ignores width, kind of kana, blanks, order, case and Unicode form."""
    user = make_user(username=f"Sato.G{secrets.token_hex(4)}", display_name="佐藤 ガク")
    make_user(display_name="佐藤 カク")
    for typed in (
        "佐藤　ガク", "ガク 佐藤", "佐藤ガク", "ＳＡＴＯ．Ｇ", "sato.g　ｶﾞｸ", "カ\u3099ク",
        "ガ\u200bク", "\u00a0ガク\t",
    ):  # fmt: skip
        found = page(client.get("/users/", {"q": typed}))
        assert re.findall(r'<a href="/users/(\d+)/">', found) == [str(user.pk)], typed


@pytest.mark.parametrize(
    ("path", "entry", "mark"),
    [
        ("/", "/", "page"),
        ("/users/?q=x", "/users/", "page"),
        ("/users/new/", "/users/", "true"),
        ("/pcs/unseen/", "/", "true"),
        ("/nowhere/", None, None),
    ],
)
def test_the_menu_marks_where_the_user_is(
    client: Client, path: str, entry: str | None, mark: str | None
) -> None:
    """The menu marks the entry of this page, or the section to which this page belongs."""
    found = re.findall(r'<a href="([^"]+)" aria-current="(\w+)"', client.get(path).content.decode())
    assert found == ([(entry, mark)] if entry else [])
