"""The number of queries of a page, and the index that finds its rows."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from server import clock
from server.console.models import Account, Device, User
from server.console.views import common
from tests.support.console_client import Browse, page
from tests.support.server_fixtures import P1, MakeDevice, MakePairing, live_gateway


@pytest.fixture(scope="module")
def crowd(database: None) -> Iterator[User]:
    """Return the administrator of an account with 2,000 users; every third one has a PC."""
    account = Account.objects.create(name="a crowd")
    administrator = User.objects.create(
        account=account, username="crowd-admin", role=User.Role.ADMINISTRATOR, password="!"
    )
    User.objects.bulk_create(
        User(account=account, username=f"crowd{n:04}", display_name=f"利用者 {n}", password="!")
        for n in range(2_000)
    )
    until = clock.now() + timedelta(days=9)
    gateway = live_gateway()
    Device.objects.bulk_create(
        Device(
            user=user,
            device_id=secrets.token_hex(16),
            name="PC",
            waiting_since=clock.now() if n % 2 else None,
            gateway=gateway if n % 2 else "",
            login_password="old" if n % 5 == 0 else "current",
            login_valid_until=until if n % 5 == 0 else None,
            last_seen_at=clock.now() - timedelta(days=31),
        )
        for n, user in enumerate(User.objects.filter(account=account)[::3])
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(common, "AT_ONCE", 100)
        yield administrator


@pytest.mark.database("sqlite")  # reads SQLite's query plans
@pytest.mark.parametrize(
    ("path", "queries", "indexes"),
    [
        ("/users/", 6, "users_by_name"),
        ("/users/?page=20", 7, "users_by_name"),
        ("/users/?q=利用者+77", 5, "users_by_name"),
        ("/users/?state=waiting", 6, "devices_that_wait"),
        ("/users/?state=old&page=2", 6, "devices_on_old_password"),
        ("/users/?state=temporary", 3, "users_by_name"),
        ("/old-passwords/?page=2", 5, "devices_on_old_password"),
        ("/audit/", 3, "events_of_account"),
        ("/old-passwords/?left=failed", 3, "failed_deliveries"),
        ("/old-passwords/?left=fortnight", 5, "devices_on_old_password"),
        ("/pcs/unseen/?page=2", 5, "devices_not_waiting"),
        ("/users/{user}/", 6, "console_device_user_id"),
        ("/users/{user}/edit/", 3, "PRIMARY KEY"),
        ("/users/{user}/delete/", 4, "console_device_user_id"),
        ("/users/{user}/pcs/{pc}/lost/", 8, "console_aud_subject"),
        ("/users/{user}/pcs/{pc}/remove/", 4, "PRIMARY KEY"),
        ("/users/{user}/end-old/", 3, "PRIMARY KEY"),
        ("/password/push/", 4, "console_device_user_id"),
        ("/users.csv?state=old", 5, "devices_on_old_password"),
        ("/audit.csv", 3, "events_of_account"),
        ("/", 11, "devices_that_wait devices_on_old_password devices_not_waiting failed_deliv"),
    ],
)
def test_many_users(browse: Browse, crowd: User, path: str, queries: int, indexes: str) -> None:
    """A page needs exactly `queries` queries, and its rows are found by the indexes."""
    pc = Device.objects.filter(user__account=crowd.account, login_password="old")[7]
    client = browse(pc.user if path.startswith("/password/") else crowd)
    with CaptureQueriesContext(connection) as captured:
        page(client.get(path.format(user=pc.user_id, pc=pc.pk)))
    assert len(captured) == queries, "\n".join(query["sql"][:200] for query in captured)
    plan: list[str] = []
    with connection.cursor() as cursor:
        for query in captured:
            cursor.execute("EXPLAIN QUERY PLAN " + query["sql"].replace("%", "%%"), ())
            plan += [detail for *_, detail in cursor.fetchall()]
    assert all(index in str(plan) for index in indexes.split()), plan
    scans = {step for step in plan if step.startswith("SCAN ")}
    assert scans <= {"SCAN U0"}, "only the few gateways are read as a whole"


@pytest.mark.parametrize("path", ["/", "/app/", "/password/push/", "/password/", "/pcs/new/"])
def test_pages_with_many_rows(
    browse: Browse, user: User, make_device: MakeDevice, make_pairing: MakePairing, path: str
) -> None:
    """Ten PCs with pushes take as many queries as one, and a hundred open codes as one."""
    counts = []
    for _ in range(2):
        pc, client = make_pairing(), browse(user)
        client.get("/")  # the first page also saves the session
        client.post("/pcs/new/", {"code": "BBBBBBBB"})
        with CaptureQueriesContext(connection) as captured:
            page(client.get(path))
            if path == "/pcs/new/":
                for code in ("BBBBBBBB", pc.code):
                    page(client.post(path, {"code": code}, follow=True))
                password = {"pc": pc.change_id, "current_password": P1}
                page(client.post(f"{path}check/", password, follow=True))
        counts.append(len(captured))
        for _ in range(9 if path != "/pcs/new/" else 0):
            make_device(user, first_seen_at=clock.now())
        for _ in range(100 if path == "/pcs/new/" else 0):
            make_pairing()
    assert counts[0] == counts[1]
