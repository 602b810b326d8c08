"""Forms that are sent twice: by a second click, a reload, or after a dropped connection."""

from __future__ import annotations

import re
import secrets
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.utils import timezone

from server import config
from server.commands import serve
from server.console import importing, passwords, resubmission
from server.console.models import Device, FormResult, ImportJob, PasswordChange, User
from tests.support.console_client import Browse, page
from tests.support.polling import eventually
from tests.support.server_fixtures import P1, P2, MakeDevice, MakeUser

CHANGE = {"current_password": P1, "new_password1": P2, "new_password2": P2}


def opened(client: Client, path: str) -> dict[str, str]:
    """Open a page; return the token of its forms."""
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page(client.get(path)))
    assert found
    return {"csrfmiddlewaretoken": found[1]}


def as_before(client: Client) -> Client:
    """Return a browser that has not seen the answer: it still has the old cookies."""
    other = Client(enforce_csrf_checks=True, headers={"accept-language": "en"})
    other.defaults.update(client.defaults)
    other.cookies.load({name: morsel.value for name, morsel in client.cookies.items()})
    return other


def test_a_password_change_that_is_sent_again(browse: Browse, user: User) -> None:
    """The second answer is the first one, and goes on with the session of the first."""
    client = browse(user, csrf=True)
    form = CHANGE | opened(client, "/password/")
    unaware = as_before(client)
    first = client.post("/password/", form)
    second = unaware.post("/password/", form)
    assert second.status_code == first.status_code == 302
    assert second.headers["Location"] == first.headers["Location"]
    assert PasswordChange.objects.filter(user=user).count() == 1
    assert "The password was changed." in page(unaware.get(second.headers["Location"]))


def test_two_clicks_at_once(browse: Browse, user: User) -> None:
    """The second request waits for the first one's answer."""
    client = browse(user, csrf=True)
    form = CHANGE | opened(client, "/password/")

    def send(browser: Client) -> str:
        try:
            return str(browser.post("/password/", form).headers.get("Location"))
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        locations = set(pool.map(send, [as_before(client) for _ in range(4)]))
    change = PasswordChange.objects.get(user=user)
    assert locations == {f"/password/changed/{change.pk}/"}


def test_a_form_whose_connection_drops(
    browse: Browse, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server carries it out to its end, so the second sending gets its answer."""
    monkeypatch.setattr(resubmission, "LEASE_S", 20.0)
    client = browse(user, csrf=True)
    form = CHANGE | opened(client, "/password/")
    cookies = client.cookies.output(attrs=[], header="", sep=";").strip()
    listener = serve.listen("127.0.0.1", 0, option="--port")
    address = listener.getsockname()
    with serve.console(listener, config.current()):
        body = urlencode(form)
        lines = (
            "POST /password/ HTTP/1.1",
            "Host: localhost",
            f"Cookie: {cookies}",
            "Content-Type: application/x-www-form-urlencoded",
            f"Content-Length: {len(body)}",
        )
        with socket.create_connection(address) as dropped:
            dropped.sendall("\r\n".join([*lines, "", body]).encode())
            eventually(lambda: FormResult.objects.filter(sealed=None).exists())
        again = as_before(client).post("/password/", form)
    change = PasswordChange.objects.get(user=user)
    assert again.headers["Location"] == f"/password/changed/{change.pk}/"


def test_a_new_user_that_is_sent_again(browse: Browse, administrator: User) -> None:
    """The temporary password is shown again; the database does not have it in the open."""
    client = browse(administrator, csrf=True)
    form = {"username": f"twice-{secrets.token_hex(4)}", "role": "general"}
    form |= opened(client, "/users/new/")
    first = page(client.post("/users/new/", form))
    found = re.search(r'<code id="temporary">([^<]+)</code>', first)
    assert found
    assert page(client.post("/users/new/", form)) == first
    kept = b"".join(bytes(row.sealed or b"") for row in FormResult.objects.all())
    assert kept
    assert found[1].encode() not in kept
    other = form | {"username": f"other-{secrets.token_hex(4)}"}  # the back button, another name
    assert other["username"] in page(client.post("/users/new/", other))


@pytest.mark.parametrize("end", ["logout", "end of all sessions", "disabled"])
def test_no_answer_after_the_session(browse: Browse, administrator: User, end: str) -> None:
    """After the end of a session, "back" and "send again" show no temporary password."""
    client = browse(administrator, csrf=True)
    form = {"username": f"gone-{secrets.token_hex(4)}", "role": "general"}
    form |= opened(client, "/users/new/")
    assert "temporary" in page(client.post("/users/new/", form))
    if end == "logout":
        assert client.post("/logout/", opened(client, "/")).status_code == 302
    else:
        changes = {"session_epoch": 1} if end == "end of all sessions" else {"is_active": False}
        User.objects.filter(pk=administrator.pk).update(**changes)
    again = client.post("/users/new/", form)
    assert (again.status_code, again.headers["Location"]) == (302, "/login/")


def test_no_answer_for_another_user(
    browse: Browse, administrator: User, make_user: MakeUser
) -> None:
    """Another user who has the form, by whatever way, gets the start page."""
    client = browse(administrator, csrf=True)
    form = {"username": f"other-{secrets.token_hex(4)}", "role": "general"}
    form |= opened(client, "/users/new/")
    assert "temporary" in page(client.post("/users/new/", form))
    other = browse(make_user(), csrf=True)
    other.cookies["csrftoken"] = client.cookies["csrftoken"].value
    again = other.post("/users/new/", form)
    assert (again.status_code, again.headers["Location"]) == (302, "/login/")
    assert other.get("/login/").headers["Location"] == "/"


def test_an_import_that_is_sent_again(browse: Browse, administrator: User) -> None:
    """A second sending starts no second job, and its browser gets the key to the passwords."""
    client = browse(administrator, csrf=True)
    token = opened(client, "/users/import/")
    unaware = as_before(client)
    data = f"username\ntwice-{secrets.token_hex(4)}\n".encode()
    answers = [
        browser.post("/users/import/", token | {"file": SimpleUploadedFile("a.csv", data)})
        for browser in (client, unaware)
    ]
    [job] = ImportJob.objects.filter(started_by=administrator)
    assert answers[0].headers["Location"] == answers[1].headers["Location"]
    assert answers[0].cookies.output() == answers[1].cookies.output() != ""
    while importing.work():
        pass
    form = opened(unaware, f"/users/import/{job.pk}/")
    shown = [page(unaware.post(f"/users/import/{job.pk}/passwords/", form)) for _ in range(2)]
    assert shown[0] == shown[1]
    assert "data:text/csv" in shown[0]


@pytest.mark.parametrize("first", ["is refused", "fails", "dies"])
def test_a_form_that_has_no_result_may_be_sent_again(
    browse: Browse, user: User, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """After a refusal, an error of the server, or, once its lease is over, a dead process."""
    client = browse(user, csrf=True)
    client.raise_request_exception = False
    form = CHANGE | opened(client, "/password/")
    with monkeypatch.context() as patch:
        if first == "is refused":
            assert "not the same" in page(client.post("/password/", form | {"new_password2": P1}))
        else:
            patch.setattr(passwords, "change_own", lambda *_a, **_n: 1 / 0)
            if first == "dies":
                patch.setattr(resubmission, "_keep", lambda *_: None)
            assert client.post("/password/", form).status_code == 500
    if first == "dies":
        lease = timedelta(seconds=resubmission.LEASE_S)
        assert FormResult.objects.update(at=timezone.now() - lease) >= 1
    assert client.post("/password/", form).status_code == 302


def test_a_login_page_that_is_sent_again(browse: Browse, user: User) -> None:
    """A login form that is sent again leads to the start page, although its token is old."""
    client = browse(csrf=True)
    form = {"username": user.username, "password": P1} | opened(client, "/login/")
    assert client.post("/login/", form).headers["Location"] == "/"
    assert client.post("/login/", form).headers["Location"] == "/"


def test_strangers_make_no_rows(browse: Browse) -> None:
    """A form of a stranger leads to the login page and leaves nothing in the database."""
    client = browse(csrf=True)
    token = opened(client, "/login/")
    before = FormResult.objects.count()
    assert client.post("/password/", CHANGE | token).headers["Location"].startswith("/login/")
    assert FormResult.objects.count() == before


@pytest.mark.parametrize("path", ["/live/pcs/", "/live/push/", "/app/live/"])
def test_polls_carry_no_cookie(browse: Browse, user: User, path: str) -> None:
    """A poll under way while the password is changed takes no session away."""
    client = browse(user)
    old = as_before(client)
    client.post("/password/", CHANGE)
    answer = old.get(path)
    assert answer.status_code == 401
    assert not answer.cookies
    assert not client.get(path).cookies
    assert client.get("/").status_code == 200


@pytest.mark.parametrize("path", ["/", "/login/", "/password/rules/", "/app/", "/no/such/page/"])
def test_pages_take_no_session_away(browse: Browse, user: User, path: str) -> None:
    """Another tab's page under way while the password is changed does not log the user out."""
    client = browse(user)
    old = as_before(client)
    client.post("/password/", CHANGE)
    client.cookies.update(old.get(path).cookies)
    assert client.get("/").status_code == 200


def test_a_poll_that_finds_nothing_new(browse: Browse, user: User, make_device: MakeDevice) -> None:
    """A poll gets 304 until a row of the live part changes."""
    client, device = browse(user), make_device(user)
    version = client.get("/live/pcs/").json()["version"]
    headers = {"if-none-match": version}
    assert client.get("/live/pcs/", headers=headers).status_code == 304
    Device.objects.filter(pk=device.pk).update(waiting_since=None)
    assert client.get("/live/pcs/", headers=headers).json()["version"] != version
