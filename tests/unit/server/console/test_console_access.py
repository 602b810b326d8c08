"""Who may open which address; forms without a CSRF token are refused."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from django.urls import get_resolver

from server import clock
from server.console import audit, importing, pairings, passwords
from server.console.models import Account, User
from tests.support.console_client import Browse, new_client, page
from tests.support.server_fixtures import P1, P2, MakeDevice, MakePairing, MakeUser

PATTERNS = [str(each.pattern) for each in get_resolver().url_patterns]
OPEN = {"language/", "password/rules/", "app/manifest.webmanifest", "app/worker.js"}
"""Addresses that are open to everybody."""
OPEN_TO_STRANGERS = OPEN | {"login/", "app/login/"}
OPEN_WITH_TEMPORARY_PASSWORD = OPEN | {"password/", "live/push/", "logout/", "app/logout/"}
ADMINISTRATORS = ("users", "audit", "old-passwords", "pcs/unseen", "live/import")


@pytest.fixture
def paths(
    user: User, administrator: User, make_device: MakeDevice, make_pairing: MakePairing
) -> dict[str, str]:
    """Return a path for each URL pattern; its rows belong to the user or the administrator."""
    device = make_device(user)
    event = pairings.accept(user, make_pairing(), password=P1)
    forced = passwords.force(user, by=administrator, new_password=P2, must_change=False)
    user.refresh_from_db()
    job, _ = importing.start([], by=administrator)

    def fill(pattern: str) -> str:
        rows = {"pk": user.pk, "device_pk": device.pk, "change_id": forced.pk}
        rows["action"] = "disconnect" if "pcs" in pattern else "disable"
        if "new/" in pattern or "import/" in pattern:
            rows["pk"] = event.pk if "new/" in pattern else job.pk
        return "/" + re.sub(r"<\w+:(\w+)>", lambda name: str(rows[name[1]]), pattern)

    return {pattern: fill(pattern) for pattern in PATTERNS}


def statuses(client: Client, path: str) -> set[int]:
    """GET an address, then POST to it. Return both status codes."""
    form = {"new_password1": P1, "new_password2": P1, "code": "BCDF2345"}
    return {client.get(path).status_code, client.post(path, form).status_code}


def test_without_a_login(paths: dict[str, str]) -> None:
    """Without a login only the addresses in `OPEN_TO_STRANGERS` open."""
    for pattern, path in paths.items():
        answer = new_client().get(path)
        if pattern in OPEN_TO_STRANGERS:
            assert answer.status_code in {200, 302, 405}, pattern
            assert "login" not in answer.headers.get("Location", ""), pattern
        elif "live/" in pattern:
            assert answer.status_code == 401, pattern
        else:
            assert "/login/" in answer.headers["Location"], pattern


def test_a_temporary_password_opens_only_its_change(
    browse: Browse, make_user: MakeUser, paths: dict[str, str]
) -> None:
    """With a temporary password, all other pages redirect to the change of the password."""
    client = browse(make_user(must_change_password=True, role=User.Role.ADMINISTRATOR))
    for pattern, path in paths.items():
        answer = client.get(path)
        if pattern in OPEN_WITH_TEMPORARY_PASSWORD:
            assert answer.status_code in {200, 302, 405}, pattern
            assert answer.headers.get("Location") != "/password/", pattern
        else:
            for each in (answer, client.post(path, {"code": "BCDF2345"})):
                assert each.headers["Location"] == "/password/", pattern


def test_other_people(
    browse: Browse, user: User, administrator: User, make_user: MakeUser, paths: dict[str, str]
) -> None:
    """General users get 403 on administrators' pages; another user's row gives 404.

    A GET by the right user changes nothing.
    """
    fields = ("password", "role", "is_active", "session_epoch")
    before = User.objects.filter(pk=user.pk).values(*fields).get()
    other_account, _ = Account.objects.get_or_create(name="a third account")
    roles = {"role": User.Role.ADMINISTRATOR}
    others, colleague = [make_user(), make_user(account=other_account, **roles)], make_user(**roles)
    for pattern, path in paths.items():
        is_administrators = pattern.startswith(ADMINISTRATORS)
        for other in [*others, colleague] if "import/" in pattern else others:
            other.refresh_from_db()  # the POST before may have ended this user's sessions
            answers = statuses(browse(other), path)
            if is_administrators and not other.is_administrator:
                assert 403 in answers, pattern
                assert answers <= {403, 405}, pattern
            elif "<" in pattern:
                assert 404 in answers, pattern
                assert answers <= {404, 405}, pattern
        right = browse(administrator if is_administrators else user)
        assert right.get(path).status_code in {200, 302, 405}, pattern
        assert User.objects.filter(pk=user.pk).values(*fields).get() == before, pattern
        assert not user.devices.exclude(blocked_at=None).exists(), pattern


def test_a_pc_of_another_user(client: Client, make_user: MakeUser, make_device: MakeDevice) -> None:
    """A PC is found only under the address of its own user."""
    device = make_device(make_user())
    for action in ("lost", "disconnect", "allow", "remove"):
        path = f"/users/{make_user().pk}/pcs/{device.pk}/{action}/"
        assert statuses(client, path) <= {404, 405}
    device.refresh_from_db()
    assert device.blocked_at is None


def test_lists_end_at_the_account(client: Client, stranger: User, make_device: MakeDevice) -> None:
    """Administrators' lists show no users, PCs or audit events of other accounts."""
    now = clock.now()
    make_device(stranger, name="PC-X", login_password="old", login_valid_until=now)
    audit.record("user.disabled", actor=stranger, subject=stranger)
    for pattern in PATTERNS:
        if pattern.startswith(ADMINISTRATORS) and "<" not in pattern:
            text = page(client.get(f"/{pattern}"))
            assert stranger.username not in text
            assert "PC-X" not in text


def test_forged_forms_are_refused(
    browse: Browse, administrator: User, paths: dict[str, str]
) -> None:
    """A form without the CSRF token changes nothing; the page says what to do."""
    for pattern, path in paths.items():
        client = browse(None if "login" in pattern else administrator, csrf=True)
        answer = client.post(path, {"new_password1": P2})
        assert answer.status_code == 403, pattern
        assert "load the page again" in answer.content.decode(), pattern
