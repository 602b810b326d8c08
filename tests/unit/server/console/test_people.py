"""People who leave or change: edit and delete a user, remove a PC, export lists."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from server import clock, config
from server.console import audit, csvfiles, passwords, people
from server.console.models import AuditEvent, Device, PasswordChange, PushDelivery, User
from server.console.views import common
from tests.support.console_client import Browse, change, page, run_before
from tests.support.server_fixtures import P2, MakeDevice, MakeUser, with_settings


def last_event(action: str, subject_name: str) -> AuditEvent:
    return AuditEvent.objects.filter(action=action, subject_name=subject_name).latest("pk")


def test_edit(client: Client, user: User) -> None:
    """A new name and role make one event, also when sent twice; the search finds the new name."""
    path = f"/users/{user.pk}/edit/"
    assert 'name="role"' in page(client.get(path))
    for _ in range(2):
        client.post(path, {"display_name": "新田　花子", "role": "administrator"})
    user.refresh_from_db()
    assert (user.display_name, user.role) == ("新田　花子", "administrator")
    assert user.username in page(client.get("/users/?q=新田"))
    [event] = AuditEvent.objects.filter(subject=user)
    assert set(audit.detail_text(event).split("; ")) == {"新田　花子", "account administrator"}
    wrong = client.post(path, {"display_name": "x" * 151, "role": "boss"})
    assert page(wrong).count("_error") >= 2


def test_edit_and_delete_oneself(client: Client, administrator: User) -> None:
    """Administrators may change their own name, but not their role, nor delete themselves."""
    path = f"/users/{administrator.pk}"
    assert "Only another administrator" in page(client.get(f"{path}/edit/"))
    client.post(f"{path}/edit/", {"display_name": "Me", "role": "general"})
    administrator.refresh_from_db()
    assert (administrator.display_name, administrator.role) == ("Me", "administrator")
    assert client.get(f"{path}/delete/").status_code == 403
    assert client.post(f"{path}/delete/").status_code == 403
    assert "/delete/" not in page(client.get(f"{path}/"))


def test_delete(
    client: Client, mine: Client, administrator: User, user: User, make_device: MakeDevice
) -> None:
    """Deleting a user deletes sessions, PCs and pushes; the audit trail keeps the names."""
    device, colleague = make_device(user, name="PC-GONE"), make_device(administrator)
    change(user, P2, push_to=[device])
    mine.force_login(user)
    path = f"/users/{user.pk}/delete/"
    text = page(client.get(path))
    assert "1 PC is removed" in text
    assert "The audit trail keeps" in text
    assert f"{user.username} was deleted." in page(client.post(path, follow=True))
    assert not User.objects.filter(pk=user.pk).exists()
    assert not PushDelivery.objects.filter(device_id=device.pk).exists()
    assert not PasswordChange.objects.filter(user_id=user.pk).exists()
    assert Device.objects.filter(pk=colleague.pk).exists()
    assert mine.get("/").status_code == 302
    assert client.get(path).status_code == 404
    event, by = last_event("user.deleted", user.username), administrator
    assert (event.actor, event.subject, event.account) == (by, None, by.account)
    assert audit.detail_text(event) == "PC-GONE"
    text = page(client.get(f"/audit/?q={user.username}"))
    assert "password changed" in text
    assert "user deleted" in text


def test_what_a_deleted_administrator_has_done(
    client: Client, administrator: User, make_user: MakeUser, user: User
) -> None:
    """The audit trail keeps what a deleted administrator did, with the name."""
    other = make_user(role=User.Role.ADMINISTRATOR)
    made = passwords.force(user, by=other, new_password=P2, must_change=True)
    people.delete(other, by=administrator)
    made.refresh_from_db()
    assert made.changed_by is None
    assert last_event("password.forced", user.username).actor_name == other.username
    assert page(client.get(f"/users/{user.pk}/"))


@pytest.mark.parametrize(
    ("deleted", "action", "status"),
    [("user", "edit", 404), ("actor", "edit", 403), ("actor", "end-old", 302)],
)
def test_deleted_in_the_same_moment(
    browse: Browse,
    administrator: User,
    make_user: MakeUser,
    monkeypatch: pytest.MonkeyPatch,
    *,
    deleted: str,
    action: str,
    status: int,
) -> None:
    """An action by or on a user who was just deleted gets a clear answer, nothing half done."""
    other, user = make_user(role=User.Role.ADMINISTRATOR), make_user()
    change(user, P2)

    def happens(user: User, *, by: User, **_: object) -> None:
        people.delete(user if deleted == "user" else by, by=administrator)

    for module, name in ((people, "edit"), (passwords, "end_old_passwords")):
        run_before(monkeypatch, module, name, happens)
    form = {"display_name": "x", "role": "general"}
    answer = browse(other).post(f"/users/{user.pk}/{action}/", form)
    assert answer.status_code == status
    assert answer.headers.get("Location", "/login/") == "/login/"
    if deleted == "actor":
        assert passwords.old_valid_until(user) is not None


def test_remove_a_pc(client: Client, mine: Client, user: User, make_device: MakeDevice) -> None:
    """A PC that does not wait is removed with its push and an event; one that waits is not."""
    gone, here = make_device(user, name="PC-GONE", waiting=False), make_device(user, name="PC-HERE")
    blocked = make_device(user, name="PC-BLOCKED", blocked_at=clock.now())
    change(user, P2, late=[gone])
    mine.force_login(user)
    text = page(client.get(f"/users/{user.pk}/"))
    for device, removable in ((gone, True), (here, False), (blocked, True)):
        path = f"/users/{user.pk}/pcs/{device.pk}/remove/"
        assert (path in text) is removable
        assert ("it could wait again" in page(client.get(path))) is (device == blocked)
        assert mine.post(f"/pcs/{device.pk}/remove/").status_code == 404
        answer = page(client.post(path, follow=True))
        assert ("waits now. Disconnect it" in answer) is not removable
        assert Device.objects.filter(pk=device.pk).exists() is not removable
    assert not PushDelivery.objects.filter(device_id=gone.pk).exists()
    assert audit.detail_text(last_event("device.removed", user.username)) == "PC-BLOCKED"


def test_export_of_the_trail(
    browse: Browse, administrator: User, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The export has all matching events, the latest first, in Japanese, without formulas."""
    monkeypatch.setattr(common, "AT_ONCE", 2)
    monkeypatch.setattr(csvfiles, "AT_ONCE", 3)
    for number in range(7):
        audit.record("device.blocked", subject=user, address="::1", device=f"={number}")
    client = browse(administrator, language="ja")

    def rows(query: str) -> list[list[str]]:
        answer = client.get(f"/audit.csv?{query}")
        assert answer.streaming
        return list(csv.reader(io.StringIO(answer.getvalue().decode("utf-8-sig"))))

    head, *found = rows(f"q={user.username}")
    assert head == ["日時", "実行者", "内容", "詳細", "対象", "接続元"]
    assert [row[1:] for row in found] == [
        ["", "PCの切断", f"'={number}", user.username, "::1"] for number in reversed(range(7))
    ]
    assert rows("action=nonsense") == [head]


@pytest.mark.parametrize(("days", "kept"), [(0, 5), (30, 2)])
def test_the_trail_is_kept_for_a_time(
    user: User, monkeypatch: pytest.MonkeyPatch, days: int, kept: int
) -> None:
    """Events older than the setting are deleted in batches; by default all are kept."""
    monkeypatch.setattr(config, "_current", with_settings(audit_days=days))
    monkeypatch.setattr(passwords, "FORGOTTEN_AT_ONCE", 2)
    AuditEvent.objects.all().delete()
    for age in (90, 60, 31, 29, 0):
        event = audit.record("user.enabled", subject=user)
        AuditEvent.objects.filter(pk=event.pk).update(at=clock.now() - timedelta(days=age))
    for _ in range(3):
        passwords.tidy_up()
    assert AuditEvent.objects.count() == kept


@pytest.mark.parametrize(
    ("query", "shown"), [("", 1), ("?days=7", 2), ("?days=100", 0), ("?days=0", 0), ("?days=x", 0)]
)
def test_not_seen_for_some_days(
    client: Client, administrator: User, make_device: MakeDevice, query: str, shown: int
) -> None:
    """The page lists PCs not seen for the typed number of days; a wrong number is an error."""
    for days in (1, 10, 40):
        seen = clock.now() - timedelta(days=days)
        make_device(administrator, waiting=False, name=f"PC{days}", last_seen_at=seen)
    text = page(client.get(f"/pcs/unseen/{query}"))
    assert len(re.findall(r"PC\d+<small>", text)) == shown
    assert ("id_days_error" in text) is (query in {"?days=0", "?days=x"})


async def test_files_are_streamed() -> None:
    """A file is streamed: each part is sent before the next part's rows are read."""
    read: list[int] = []

    def rows() -> Iterator[int]:
        for number in range(csvfiles.AT_ONCE + 1):
            read.append(number)
            yield number

    parts = aiter(common.CsvResponse("x", {"number": str}, rows()))
    assert (await anext(parts)).startswith(codecs.BOM_UTF8)
    assert len(read) == csvfiles.AT_ONCE - 1
    assert [part async for part in parts] == [b"499\r\n500\r\n"]


def test_whole_account(make_user: MakeUser, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line changes many users of an account in batches, each with an event."""
    monkeypatch.setattr(people, "AT_ONCE", 3)
    users = [make_user() for _ in range(5)]
    account = users[0].account
    with CaptureQueriesContext(connection) as queries:
        people.apply_to_all(people.DISABLE, account.users.all(), whole_account=True)
    assert sum(each["sql"].startswith("BEGIN") for each in queries) == 2
    assert not account.users.filter(is_active=True).exists()
    events = AuditEvent.objects.filter(account=account, detail__whole_account=True)
    assert [event.subject for event in events.order_by("pk")] == users
