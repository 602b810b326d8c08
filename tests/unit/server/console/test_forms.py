"""Forms in general: guesses at the current password, a full queue, and forms that are sent twice.

A second click, a reload, or a dropped connection sends a form twice.
"""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from time import sleep
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
from axes.models import AccessAttempt
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from server import clock, config
from server.commands import serve
from server.console import hashing, passwords, resubmission
from server.console.lockout import LIMIT_USER_AND_ADDRESS
from server.console.models import AuditEvent, Device, FormResult, PasswordChange, User
from tests.support.console_client import Browse, at_once, change, form_token, page, run_before
from tests.support.polling import eventually
from tests.support.server_fixtures import P1, P2, P3, MakeDevice, MakePairing, MakeUser

CHANGE = {"current_password": P1, "new_password1": P2, "new_password2": P2}


class Form(NamedTuple):
    """A form of an administrator: its page, what to type, and the audit event that it makes."""

    path: str
    fields: dict[str, Any]
    event: str


@pytest.fixture
def make_form(administrator: User, make_device: MakeDevice, make_pairing: MakePairing) -> MakeForm:
    """`make_form(path, browser)` returns a form; the current password is P2."""
    device = make_device(administrator, waiting=False, first_seen_at=clock.now())
    change(administrator, P2)
    pc = make_pairing()
    name = f"twice-{secrets.token_hex(4)}"
    right = {"current_password": P2}
    forms: dict[str, tuple[dict[str, Any], str]] = {
        "/password/": (right | {"new_password1": P3, "new_password2": P3}, "password.changed"),
        "/password/push/": (right | {"device": device.pk}, "push.later"),
        "/pcs/new/": ({"code": pc.code}, ""),
        "/pcs/new/check/": (right | {"pc": pc.change_id}, "pairing.accepted"),
        "/users/new/": ({"username": name, "role": "general"}, "user.created"),
        "/users/import/": ({}, "import.started"),
    }

    def make(path: str, client: Client) -> Form:
        if path == "/pcs/new/check/":
            client.post("/pcs/new/", {"code": pc.code} | form_token(client, "/pcs/new/"))
        fields, event = forms[path]
        return Form(path, fields, event)

    return make


MakeForm = Callable[[str, Client], Form]


@pytest.mark.parametrize("path", ["/password/", "/password/push/", "/pcs/new/check/"])
def test_asking_for_the_current_password(
    client: Client,
    administrator: User,
    make_form: MakeForm,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
) -> None:
    """Wrong guesses at the current password, in an open session, count for the login lockout.

    Nothing is done or counted when too many passwords wait to be hashed.
    """
    client.force_login(administrator)
    form = make_form(path, client)
    events = AuditEvent.objects.filter(action=form.event)
    before = events.count()
    with monkeypatch.context() as patch:
        patch.setattr(hashing, "QUEUE_PER_CORE", -1)
        answer = client.post(path, form.fields)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert "nothing was done" in answer.content.decode()
    assert not AccessAttempt.objects.exists()
    wrong = form.fields | {"current_password": P1}
    for _ in range(LIMIT_USER_AND_ADDRESS - 1):
        assert "The current password is wrong." in page(client.post(path, wrong))
    assert client.post(path, wrong).status_code == 429
    assert client.post(path, form.fields).status_code == 429
    assert events.count() == before


def as_before(client: Client) -> Client:
    """Return a browser with copied cookies, which later answers to `client` do not change."""
    other = Client(enforce_csrf_checks=True, headers={"accept-language": "en"})
    other.defaults.update(client.defaults)
    other.cookies.load({name: morsel.value for name, morsel in client.cookies.items()})
    return other


@pytest.mark.parametrize(
    "path",
    [
        "/password/", "/password/push/", "/pcs/new/", "/pcs/new/check/", "/users/new/",
        "/users/import/",
    ],
)  # fmt: skip
def test_sent_again(browse: Browse, administrator: User, make_form: MakeForm, path: str) -> None:
    """A form that is sent twice acts once; the second answer and its cookies equal the first.

    The browser has not seen the first answer. The database has no temporary password in clear.
    """
    client = browse(administrator, csrf=True)
    form = make_form(path, client)
    fields = form.fields | form_token(client, path)
    unaware, answers = as_before(client), []
    FormResult.objects.all().delete()
    before = AuditEvent.objects.filter(action=form.event).count()
    for browser in (client, unaware):
        if path == "/users/import/":
            fields["file"] = SimpleUploadedFile("a.csv", b"username\ntwice\n")
        answers.append(browser.post(path, fields))
    first, second = answers
    assert first.status_code == second.status_code == (200 if path == "/users/new/" else 302)
    assert first.headers.get("Location") == second.headers.get("Location")
    assert first.content == second.content
    jars = [
        {name: each.value for name, each in browser.cookies.items() if name != "csrftoken"}
        for browser in (client, unaware)
    ]
    assert jars[0] == jars[1]
    assert page(unaware.get(second.headers.get("Location", "/")))
    assert AuditEvent.objects.filter(action=form.event).count() == before + bool(form.event)
    [kept] = FormResult.objects.all()
    for password in re.findall(r'<code id="temporary">([^<]+)</code>', first.content.decode()):
        assert password.encode() not in bytes(kept.sealed or b"")
    if path == "/users/new/":  # the user goes back and types another name
        other = fields | {"username": f"other-{secrets.token_hex(4)}"}
        assert other["username"] in page(client.post(path, other))


@pytest.fixture
def _slow_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a change take half a second, as hashing does."""
    run_before(monkeypatch, passwords, "change_own", lambda *_, **__: sleep(0.5))


@pytest.mark.usefixtures("_slow_change")
def test_two_clicks_at_once(browse: Browse, user: User) -> None:
    """Of several clicks at once, one changes the password; all get that one's answer."""
    client = browse(user, csrf=True)
    form = CHANGE | form_token(client, "/password/")
    browsers = [as_before(client) for _ in range(4)]
    answers = at_once([partial(browser.post, "/password/", form) for browser in browsers])
    locations = {answer.headers.get("Location") for answer in answers}
    made = PasswordChange.objects.get(user=user)
    assert locations == {f"/password/changed/{made.pk}/"}


@pytest.mark.usefixtures("_slow_change")
def test_a_form_whose_connection_drops(
    browse: Browse, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a dropped connection the server finishes the form; sent again, it gets the answer."""
    monkeypatch.setattr(resubmission, "LEASE_S", 20.0)
    client = browse(user, csrf=True)
    form = CHANGE | form_token(client, "/password/")
    cookies = client.cookies.output(attrs=[], header="", sep=";").strip()
    FormResult.objects.all().delete()
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
            eventually(FormResult.objects.filter(sealed=None).exists)
        again = as_before(client).post("/password/", form)
    made = PasswordChange.objects.get(user=user)
    assert again.headers["Location"] == f"/password/changed/{made.pk}/"
    assert AuditEvent.objects.get(subject=user, action="password.changed").address == "127.0.0.1"


@pytest.mark.parametrize("end", ["logout", "session_epoch", "is_active", "another user"])
def test_no_answer_after_the_session(
    browse: Browse, administrator: User, make_user: MakeUser, end: str
) -> None:
    """After the end of a session, or for another user, the form shows no temporary password."""
    client = browse(administrator, csrf=True)
    form = {"username": f"gone-{secrets.token_hex(4)}", "role": "general"}
    form |= form_token(client, "/users/new/")
    assert "temporary" in page(client.post("/users/new/", form))
    if end == "logout":
        assert client.post("/logout/", form_token(client, "/")).status_code == 302
    elif end == "another user":
        other = browse(make_user(), csrf=True)
        other.cookies["csrftoken"] = client.cookies["csrftoken"].value
        client = other
    else:
        User.objects.filter(pk=administrator.pk).update(**{end: end == "session_epoch"})
    again = client.post("/users/new/", form)
    assert (again.status_code, again.headers["Location"]) == (302, "/login/")


@pytest.mark.parametrize("first", ["is refused", "fails", "dies"])
def test_a_form_that_has_no_result_may_be_sent_again(
    browse: Browse, user: User, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """A form may be sent again after a refusal, a server error, or a dead process's lease."""
    client = browse(user, csrf=True)
    client.raise_request_exception = False
    form = CHANGE | form_token(client, "/password/")
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
    form = {"username": user.username, "password": P1} | form_token(client, "/login/")
    assert client.post("/login/", form).headers["Location"] == "/"
    assert client.post("/login/", form).headers["Location"] == "/"


def test_strangers_make_no_rows(browse: Browse) -> None:
    """A form of a stranger leads to the login page and leaves nothing in the database."""
    client = browse(csrf=True)
    token = form_token(client, "/login/")
    before = FormResult.objects.count()
    assert client.post("/password/", CHANGE | token).headers["Location"].startswith("/login/")
    assert FormResult.objects.count() == before


@pytest.mark.parametrize("path", ["/live/pcs/", "/app/live/", "/", "/login/", "/no/such/page/"])
def test_pages_take_no_session_away(mine: Client, path: str) -> None:
    """A page or poll under way while the password is changed does not log the user out."""
    old = as_before(mine)
    mine.post("/password/", CHANGE)
    answer = old.get(path)
    if "live" in path:
        assert answer.status_code == 401
        assert not answer.cookies
        assert not mine.get(path).cookies
    mine.cookies.update(answer.cookies)
    assert mine.get("/").status_code == 200


def test_a_poll_that_finds_nothing_new(mine: Client, user: User, make_device: MakeDevice) -> None:
    """A poll gets 304 until a row of the live part changes."""
    device = make_device(user)
    version = mine.get("/live/pcs/").json()["version"]
    headers = {"if-none-match": version}
    assert mine.get("/live/pcs/", headers=headers).status_code == 304
    Device.objects.filter(pk=device.pk).update(waiting_since=None)
    assert mine.get("/live/pcs/", headers=headers).json()["version"] != version
