"""User management: what administrators see and do, and that it ends at their own account."""

from __future__ import annotations

import csv
import io
import re
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.http import HttpRequest
from django.test import Client

from server import clock
from server.console import audit, passwords
from server.console.audit import Action
from server.console.models import AuditEvent, PasswordChange, User
from server.console.views import common, users
from tests.support.console_client import Browse, page
from tests.support.server_fixtures import P1, P2, MakeDevice, MakeUser


def reload(user: User) -> User:
    return User.objects.get(pk=user.pk)


def forced(**more: object) -> dict[str, object]:
    return {"new_password1": P2, "new_password2": P2, **more}


def actions(subject: User) -> list[str]:
    return list(
        AuditEvent.objects.filter(subject=subject).order_by("id").values_list("action", flat=True)
    )


@pytest.mark.parametrize("must_change", [True, False])
def test_forced_password(
    client: Client, browse: Browse, user: User, make_device: MakeDevice, *, must_change: bool
) -> None:
    """Nothing is pushed, the client goes on for 30 days, and the user's sessions end at once."""
    make_device(user)
    theirs = browse(user)
    assert theirs.get("/app/").status_code == 200
    fields = forced(must_change="on") if must_change else forced()
    answer = client.post(f"/users/{user.pk}/", fields)
    row = reload(user)
    assert row.check_password(P2)
    assert row.must_change_password is must_change
    assert theirs.get("/app/").status_code == 302
    text = page(client.get(answer.headers["Location"]))
    assert "What to tell" in text
    assert ("temporary password" in text) is must_change
    assert P2 not in text
    change = PasswordChange.objects.get(user=user)
    assert change.old_valid_until - change.changed_at == timedelta(days=30)
    assert not change.deliveries.exists()


def test_what_cannot_be_forced(client: Client, administrator: User, user: User) -> None:
    """A password against the rules, and one's own password, without the current one."""
    passwords.change_own(user, new_password=P2, push_to=[], address=None)
    text = page(client.post(f"/users/{user.pk}/", forced()))
    assert "neither the current password" in text
    assert P2 not in text
    assert 'name="new_password1"' not in page(client.get(f"/users/{administrator.pk}/"))
    client.post(f"/users/{administrator.pk}/", forced())
    assert reload(administrator).check_password(P1)


ADMINISTRATORS_PAGES = (
    "/users/", "/users/new/", "/users/import/", "/users/{user}/", "/users/{user}/end-old/",
    "/users/{user}/edit/", "/users/{user}/delete/", "/users/{user}/pcs/{device}/remove/",
    "/users/{user}/disable/", "/users/{user}/enable/", "/users/{user}/end-sessions/",
    "/users/{user}/pcs/{device}/disconnect/", "/users/{user}/pcs/{device}/allow/",
    "/users/{user}/changed/{change}/", "/old-passwords/", "/old-passwords.csv", "/audit/",
    "/audit.csv", "/users.csv", "/pcs/unseen/",
)  # fmt: skip


@pytest.mark.parametrize("path", ADMINISTRATORS_PAGES)
@pytest.mark.parametrize("method", ["get", "post"])
def test_general_users_are_kept_out(
    browse: Browse, make_user: MakeUser, make_device: MakeDevice, path: str, method: str
) -> None:
    """Of everything that is the administrators'."""
    user, other = make_user(), make_user()
    path = path.format(user=other.pk, device=make_device(other).pk, change="0" * 32)
    assert getattr(browse(user), method)(path, forced()).status_code == 403
    assert reload(other).check_password(P1)
    assert reload(other).is_active


@pytest.mark.parametrize("path", [path for path in ADMINISTRATORS_PAGES if "{user}" in path])
def test_other_accounts_do_not_exist(
    client: Client, stranger: User, make_device: MakeDevice, path: str
) -> None:
    """404 for every address with a user of another account, and nothing is done."""
    device = make_device(stranger)
    change = PasswordChange.objects.create(
        user=stranger, kind=PasswordChange.Kind.FORCED, old_valid_until=clock.now()
    )
    path = path.format(user=stranger.pk, device=device.pk, change=change.pk)
    answers = {client.get(path).status_code, client.post(path, forced()).status_code}
    assert 404 in answers
    assert answers <= {404, 405}
    stranger.refresh_from_db()
    device.refresh_from_db()
    assert (stranger.is_active, stranger.password, stranger.session_epoch) == (True, "!", 0)
    assert device.blocked_at is None


def test_lists_end_at_the_account(client: Client, stranger: User, make_device: MakeDevice) -> None:
    """Users, PCs on old passwords and the audit trail of others are not shown."""
    until = clock.now() + timedelta(days=3)
    make_device(stranger, name="PC-X", login_password="old", login_valid_until=until)
    audit.record(Action.USER_DISABLED, actor=stranger, subject=stranger, address=None)
    for path in (
        "/", "/users/", "/users.csv", "/old-passwords/", "/old-passwords.csv", "/audit/",
        "/audit.csv",
    ):  # fmt: skip
        text = page(client.get(path))
        assert stranger.username not in text
        assert "PC-X" not in text


def test_a_pc_of_another_user(
    browse: Browse, administrator: User, make_user: MakeUser, make_device: MakeDevice
) -> None:
    """A PC is found only with its own user."""
    one, other = make_user(), make_user()
    device = make_device(other)
    client, theirs = browse(administrator), browse(one)
    for status, browser, path in (
        (404, client, f"/users/{one.pk}/pcs/{device.pk}/disconnect/"),
        (404, theirs, f"/pcs/{device.pk}/disconnect/"),
        (404, theirs, f"/pcs/{device.pk}/allow/"),
        (302, client, f"/users/{other.pk}/pcs/{device.pk}/disconnect/"),
    ):
        assert browser.post(path).status_code == status
    assert theirs.get(f"/pcs/{device.pk}/disconnect/").status_code == 404
    device.refresh_from_db()
    assert device.blocked_at is not None


def test_disconnect_and_allow(browse: Browse, user: User, make_device: MakeDevice) -> None:
    """A user's own PC: asked first, recorded, and undone by the same user."""
    device = make_device(user, name="PC-WRONG")
    client = browse(user)
    assert "still stored on that PC" in page(client.get(f"/pcs/{device.pk}/disconnect/"))
    client.post(f"/pcs/{device.pk}/disconnect/")
    device.refresh_from_db()
    assert device.blocked_at is not None
    assert "Disconnected" in page(client.get("/"))
    client.post(f"/pcs/{device.pk}/allow/")
    device.refresh_from_db()
    assert device.blocked_at is None
    assert actions(user) == ["device.blocked", "device.allowed"]


def test_disable_and_enable(
    client: Client, browse: Browse, administrator: User, user: User
) -> None:
    """Disabling ends the sessions at once; enabling does not bring them back. Others go on."""
    theirs = browse(user)
    client.post(f"/users/{user.pk}/end-sessions/")
    assert theirs.get("/").status_code == 302
    theirs.force_login(reload(user))
    assert theirs.get("/").status_code == 200
    assert client.get(f"/users/{user.pk}/disable/").status_code == 200
    assert reload(user).is_active
    for action in ("disable", "disable", "enable"):
        client.post(f"/users/{user.pk}/{action}/")
        assert theirs.get("/").status_code == 302
    assert reload(user).is_active
    assert actions(user) == ["sessions.ended", "user.disabled", "user.enabled"]
    # Every account keeps an administrator.
    assert client.post(f"/users/{administrator.pk}/disable/").status_code == 403
    assert reload(administrator).is_active


@pytest.mark.parametrize("action", ["disable", "edit", "delete"])
def test_administrators_act_on_each_other(
    browse: Browse, administrator: User, make_user: MakeUser, action: str
) -> None:
    """At the same moment only one of them succeeds, so the account keeps an administrator."""
    other = make_user(role=User.Role.ADMINISTRATOR, account=administrator.account)
    ready = threading.Barrier(2)
    find = common.managed_user

    def find_together(request: HttpRequest, pk: int) -> User:
        found = find(request, pk)
        ready.wait(timeout=30)
        return found

    def act(pair: tuple[User, User]) -> int:
        by, other = pair
        client = browse(by)
        try:
            return client.post(f"/users/{other.pk}/{action}/", {"role": "general"}).status_code
        finally:
            connection.close()

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as pool:
        patch.setattr(users, "managed_user", find_together)
        answers = list(pool.map(act, [(administrator, other), (other, administrator)]))
    left = User.objects.filter(account=administrator.account, role="administrator", is_active=True)
    assert left.count() == 1
    assert sorted(answers) in ([302, 403], [302, 404])


def test_create(client: Client, administrator: User) -> None:
    """The temporary password is on the answer, once, and has to be changed."""
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


@pytest.mark.parametrize(
    "name", ["", "a b", "-a", "田中", "a" * 65, "a\0b", "<script>", "a\nb", "＝a", "=cmd|x", None]
)
def test_bad_user_names(client: Client, stranger: User, name: str | None) -> None:
    """Or one that is taken, in any case and account: named at the field, and no user is made."""
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
    audit.record(Action.DEVICE_BLOCKED, actor=user, subject=user, address=None, device=evil)
    for path in (f"/users/?q={user.username}", f"/users/{user.pk}/", "/audit/"):
        text = page(client.get(path))
        assert "<img src=x" not in text
        assert "&lt;img src=x" in text


def test_old_passwords(
    browse: Browse, administrator: User, user: User, make_device: MakeDevice
) -> None:
    """Soonest first, with days left and warning; also as CSV without formulas, and by user."""
    now, client = clock.now(), browse(administrator)

    def on_old(name: str, days: int, **more: object) -> None:
        until = now + timedelta(days=days)
        make_device(user, name=name, login_password="old", login_valid_until=until, **more)

    on_old("=HYPERLINK(1)", 9)
    assert "9 days left" in page(client.get("/users/?state=old"))
    on_old("PC-SOON", 2, warned="shown", warned_at=now)
    make_device(user, name="PC-FINE")
    text = page(client.get("/old-passwords/"))
    assert text.index("PC-SOON") < text.index("=HYPERLINK(1)")
    assert "2 days left" in text
    assert "PC-FINE" not in text
    answer = client.get("/old-passwords.csv")
    assert answer.headers["Content-Disposition"].startswith("attachment")
    rows = list(csv.reader(io.StringIO(answer.getvalue().decode("utf-8-sig"))))
    assert [row[2] for row in rows] == ["PC", "PC-SOON", "'=HYPERLINK(1)"]
    assert [row[5:7] for row in rows[1:]] == [["2", "shown"], ["9", "not yet"]]
    # In the list of users it is the PC that has the least time, or none any more.
    for days, said in ((1, "1 day left"), (-1, "no longer valid")):
        on_old("PC", days)
        text = page(client.get("/users/?state=old"))
        assert said in text
        assert user.username in text
        assert f">{administrator.username}</a>" not in text


def test_audit_filters(client: Client, administrator: User, make_user: MakeUser) -> None:
    """By name, action and day; a wrong filter shows nothing. A user's page leads to its events."""
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
    """Width of letters, kana and blanks, order, case and Unicode form make no difference."""
    user = make_user(username=f"Sato.G{secrets.token_hex(4)}", display_name="佐藤 ガク")
    make_user(display_name="佐藤 カク")
    for typed in (
        "佐藤　ガク", "ガク 佐藤", "佐藤ガク", "ＳＡＴＯ．Ｇ", "sato.g　ｶﾞｸ", "カ\u3099ク",
        "ガ\u200bク", "\u00a0ガク\t",
    ):  # fmt: skip
        found = page(client.get("/users/", {"q": typed}))
        assert re.findall(r'<a href="/users/(\d+)/">', found) == [str(user.pk)], typed
