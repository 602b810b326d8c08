"""Security of the console: headers, refused requests, hostile input."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import AsyncMock

import pytest
from django.test import Client

from server.console import http, passwords
from server.console.http import MAX_BODY_BYTES, MAX_FORM_BYTES, Receive, Send
from server.console.middleware import CONTENT_SECURITY_POLICY
from server.console.models import User
from tests.support.console_client import Browse
from tests.support.places import ROOT
from tests.support.server_fixtures import P1, P2

PAGES = ("/", "/login/", "/password/", "/users/", "/audit/", "/app/", "/nowhere/", "/live/pcs/")


@pytest.mark.parametrize("path", PAGES)
def test_headers(client: Client, path: str) -> None:
    """Every answer, also errors and JSON, has the security headers and forbids caching."""
    headers = client.get(path).headers
    assert headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "no-store" in headers["Cache-Control"]


def test_a_long_address_to_go_back_to(browse: Browse) -> None:
    """A long address is left out of the redirect to the login: nginx allows heads of 4 KiB."""
    answer = browse().get("/audit/?user=" + "x" * 3_000)
    assert answer.headers["Location"] == "/login/"


def test_the_policy_allows_nothing_inline() -> None:
    """The policy forbids inline code and other sites, and no template has inline code."""
    assert not re.search("unsafe|http", CONTENT_SECURITY_POLICY)
    assert "default-src 'none'" in CONTENT_SECURITY_POLICY
    for template in (ROOT / "server/console/templates").rglob("*.html"):
        found = re.search(r"\s(style|on\w+)=|<script>|\|safe|autoescape", template.read_text())
        assert not found, template


HOSTILE = (
    "\x00", "a\x00b", "\ud7ff\ue000\uffff", "\u202e\u2066evil\u2069", "{{ 7*7 }}{% load x %}",
    "<script>alert(1)</script>", "A" * 200_000, "%s%n%(x)s", "9" * 400, "-1",
    "\r\nSet-Cookie: x=1", "9999-12-31", "0001-01-01", "9223372036854775808",
)  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_input_everywhere(
    client: Client, browse: Browse, administrator: User, text: str
) -> None:
    """Hostile input in any field or query causes no error 500, and never becomes markup."""
    names = (
        ("/login/", ("username", "password", "next")),
        ("/password/", ("current_password", "new_password1", "new_password2", "push", "device")),
        ("/password/push/", ("current_password", "device")),
        (f"/users/{administrator.pk}/", ("new_password1", "new_password2", "must_change")),
        ("/users/new/", ("username", "display_name", "role")),
        ("/language/", ("language", "next")),
        ("/users/import/", ("file",)),
    )
    answers = [client.post(path, dict.fromkeys(fields, text)) for path, fields in names]
    answers.append(browse().post("/login/", {"username": text, "password": text}))
    queries = (
        ("/users/", ("q", "state", "page")),
        ("/audit/", ("user", "q", "action", "since", "until", "page")),
        ("/old-passwords/", ("left", "page")),
        ("/old-passwords.csv", ("left",)),
        ("/audit.csv", ("user", "q", "action", "since", "until")),
        ("/users.csv", ("q", "state")),
        ("/pcs/unseen/", ("days", "page")),
        ("/login/", ("next",)),
    )
    answers += [client.get(path, dict.fromkeys(fields, text[:4000])) for path, fields in queries]
    for answer in answers:
        assert answer.status_code in {200, 302, 429}
        assert "<script>alert(1)" not in answer.getvalue().decode()
        assert "Set-Cookie: x=1" not in str(answer.headers)


@pytest.mark.parametrize(
    "path",
    [
        "/users/99999999999999999999999999/", "/users/-1/", "/users/1e3/",
        "/password/changed/" + "0" * 32 + "/", "/password/changed/%00/", "/users/{own}/explode/",
        "/pcs/99999999999999999999999999/disconnect/", "/%2e%2e/%2e%2e/etc/passwd",
        "/static/../settings.py", "/admin/",
    ],
)  # fmt: skip
def test_addresses_that_there_are_not(client: Client, administrator: User, path: str) -> None:
    """An unknown address gets 404 with the console's own page."""
    answer = client.get(path.format(own=administrator.pk))
    assert answer.status_code == 404
    assert "There is no such page." in answer.content.decode()


def test_our_own_failure_tells_nothing(
    mine: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error 500 has the console's own page; page and log hold nothing that was typed."""

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("it broke")

    monkeypatch.setattr(passwords, "change_own", fail)
    mine.raise_request_exception = False
    form = {"current_password": P1, "new_password1": P2, "new_password2": P2}
    answer = mine.post("/password/", form)
    assert answer.status_code == 500
    text = answer.content.decode()
    assert "Something went wrong" in text
    assert "it broke" not in text
    assert "it broke" in caplog.text
    assert not any(secret in text + caplog.text for secret in (P1, P2))


OVER_HTTPS = """
import django, json, sys; django.setup()
from django.core.management import call_command
from django.test import Client
call_command("check", deploy=True, fail_level="INFO")
client = Client(headers={"host": sys.argv[1]})
plain, page = client.get("/login/"), client.get("/login/", secure=True)
client.post("/language/", {"language": "en"}, secure=True)
print(json.dumps({
    "plain": plain.headers["Location"], "page": page.status_code,
    "hsts": page.headers["Strict-Transport-Security"],
    "cookies": {name: [c["secure"], c["path"], c["domain"]] for name, c in client.cookies.items()},
    "other": client.get("/login/", secure=True, headers={"host": "evil.example"}).status_code}))
"""


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://[2001:DB8::1]:8443", "[2001:db8::1]:8443"),
        ("https://Console.example.", "console.example"),
        ("https://console.example.", "console.example."),
        ("https://コンソール。example", "xn--tckua2l4a9b.example"),
    ],
)
def test_over_https(tmp_path: Path, url: str, host: str) -> None:
    """With https: HSTS, a redirect from http, `__Host-` cookies, and a clean `check --deploy`.

    The console accepts its own host in every form that browsers send, and no other host.
    """
    settings = {
        "DJANGO_SETTINGS_MODULE": "server.settings",
        "COCONOWORK_SERVER_DATA_DIR": str(tmp_path),
        "COCONOWORK_SERVER_PUBLIC_URL": url,
    }
    command = [sys.executable, "-W", "error", "-c", OVER_HTTPS, host]
    printed = subprocess.check_output(command, env=os.environ | settings, cwd=ROOT)
    assert json.loads(printed.splitlines()[-1]) == {
        "plain": f"https://{host}/login/",
        "page": 200,
        "hsts": "max-age=31536000",
        "cookies": {"__Host-csrf": [True, "/", ""], "django_language": [True, "/", ""]},
        "other": 400,
    }


@pytest.mark.parametrize(
    ("length", "cookie", "status"),
    [
        (b"%d" % MAX_BODY_BYTES, "logged in", 200),
        (b"%d" % (MAX_BODY_BYTES + 1), "logged in", 413),
        (b"-5", "logged in", 413),
        (b"x", "logged in", 413),
        (b"%d" % MAX_FORM_BYTES, "", 200),
        (b"%d" % (MAX_FORM_BYTES + 1), "", 302),
    ],
)
async def test_long_bodies(
    monkeypatch: pytest.MonkeyPatch, length: bytes, cookie: str, status: int
) -> None:
    """Long bodies are refused unread, by Content-Length; strangers have a lower limit."""
    size = int(length) if length.isdigit() else 5
    chunks = [
        {"type": "http.request", "body": b"x" * (size // 2), "more_body": True},
        {"type": "http.request", "body": b"x" * (size - size // 2), "more_body": False},
    ]
    receive, send, got = AsyncMock(side_effect=chunks), AsyncMock(), list[int]()

    async def app(scope: object, receive: Receive, send: Send) -> None:
        got.append(len((await receive())["body"]))
        await send({"status": 200})

    monkeypatch.setattr(http, "has_session", lambda cookies: cookies == "logged in")
    headers = [(b"content-length", length), (b"cookie", cookie.encode())]
    scope = {"method": "POST", "path": "/", "headers": headers}
    await http.limit_requests(app)(scope, receive, send)
    assert send.await_args_list[0].args[0]["status"] == status
    assert got == ([size] if status == 200 else [])
    assert receive.await_count == (2 if status == 200 else 0)


def test_who_is_logged_in(mine: Client) -> None:
    """`has_session` accepts the cookie of a session that is logged in, until the session ends."""
    cookies = mine.cookies.output(attrs=[], header="", sep=";").strip()
    assert http.has_session(f"a=b; {cookies}")
    mine.post("/logout/")
    for cookie in (cookies, "", "sessionid=", "sessionid=\0\xff; ;;=", "x" * 10_000):
        assert not http.has_session(cookie)


def test_static_files_are_cached_and_safe(browse: Browse) -> None:
    """Static files need no login, are cached, and carry the policy."""
    answer = browse().get("/static/console/console.css")
    assert answer.status_code == 200
    assert "no-store" not in answer.headers["Cache-Control"]
    assert answer.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    answer.close()
