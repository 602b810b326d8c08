"""What every answer carries, what is refused, and what hostile input comes to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from server.console import passwords
from server.console.http import MAX_BODY_BYTES, MAX_FORM_BYTES, _has_session, limit_requests
from server.console.middleware import CONTENT_SECURITY_POLICY
from server.console.models import User
from tests.support.console_client import Browse
from tests.support.places import ROOT
from tests.support.server_fixtures import P1, P2

PAGES = ("/", "/login/", "/password/", "/users/", "/audit/", "/app/", "/nowhere/", "/live/pcs/")


@pytest.mark.parametrize("path", PAGES)
def test_headers(client: Client, path: str) -> None:
    """A strict policy, no framing, no sniffing, no cache; on errors and JSON too."""
    headers = client.get(path).headers
    assert headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "no-store" in headers["Cache-Control"]


def test_a_long_address_to_go_back_to(browse: Browse) -> None:
    """Leave it out of the redirect to the login: nginx answers 502 for a head of 4 KiB."""
    answer = browse().get("/audit/?user=" + "x" * 3_000)
    assert answer.headers["Location"] == "/login/"


def test_the_policy_allows_nothing_inline() -> None:
    """The policy allows no inline script or style, and nothing of another site."""
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "http" not in CONTENT_SECURITY_POLICY
    assert "default-src 'none'" in CONTENT_SECURITY_POLICY


def test_templates_have_nothing_inline() -> None:
    """No style, event handler or script in the markup, which the policy would stop."""
    folder = ROOT / "server/console/templates"
    for template in folder.rglob("*.html"):
        text = template.read_text()
        assert " style=" not in text, template
        assert " on" not in [word[:3] for word in text.split("=")], template
        assert "<script>" not in text, template
        assert "|safe" not in text, template
        assert "autoescape" not in text, template


HOSTILE = (
    "\x00", "a\x00b", "\ud7ff\ue000\uffff", "\U0010ffff" * 50, "\u202e\u2066evil\u2069",
    "' OR 1=1 --", "{{ 7*7 }}{% load x %}", "<script>alert(1)</script>", "../../../etc/passwd",
    "A" * 200_000, "%s%n%(x)s", "9" * 400, "-1", "\r\nSet-Cookie: x=1", "9999-12-31", "0001-01-01",
    "9223372036854775808",
)  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_input_everywhere(
    client: Client, browse: Browse, administrator: User, text: str
) -> None:
    """Hostile input in any field or query causes no error 500, and never becomes markup."""
    names = (
        ("/login/", ("username", "password", "next")),
        ("/password/", ("current_password", "new_password1", "new_password2", "push", "device")),
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
        "/password/changed/" + "0" * 32 + "/", "/password/changed/%00/", "/users/1/explode/",
        "/pcs/99999999999999999999999999/disconnect/", "/%2e%2e/%2e%2e/etc/passwd",
        "/static/../settings.py", "/admin/",
    ],
)  # fmt: skip
def test_addresses_that_there_are_not(client: Client, path: str) -> None:
    """404, in our own words."""
    answer = client.get(path)
    assert answer.status_code == 404
    assert "There is no such page." in answer.content.decode()


def test_our_own_failure_tells_nothing(
    browse: Browse, user: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A page in our words; neither it nor the log has what was typed."""

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("it broke")

    monkeypatch.setattr(passwords, "change_own", fail)
    client = browse(user)
    client.raise_request_exception = False
    form = {"current_password": P1, "new_password1": P2, "new_password2": P2}
    answer = client.post("/password/", form)
    assert answer.status_code == 500
    text = answer.content.decode()
    assert "Something went wrong" in text
    assert "it broke" not in text
    assert "it broke" in caplog.text
    for secret in (P1, P2):
        assert secret not in text
        assert secret not in caplog.text


def on_https(tmp_path: Path, *command: str, url: str = "https://console.example") -> str:
    """Run Python with the settings of an installation on `url`. Return what it prints."""
    settings = {
        "DJANGO_SETTINGS_MODULE": "server.settings",
        "COCONOWORK_SERVER_DATA_DIR": str(tmp_path),
        "COCONOWORK_SERVER_PUBLIC_URL": url,
    }
    done = subprocess.run(
        [sys.executable, *command],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://[2001:DB8::1]:8443", "[2001:db8::1]:8443"),
        ("https://Console.example.", "console.example"),
        ("https://console.example.", "console.example."),
        ("https://コンソール。example", "xn--tckua2l4a9b.example"),
    ],
)
def test_host_of_the_public_address(tmp_path: Path, url: str, host: str) -> None:
    """The console takes the host of its address in every form that browsers send, and no other."""
    ask = "Client().get('/password/rules/', headers={'host': %r}, secure=True).status_code"
    code = f"""import django; django.setup()
from django.core.management import call_command; call_command("migrate", verbosity=0)
from django.test import Client
print({ask % host}, {ask % "other.example"})"""
    assert on_https(tmp_path, "-c", code, url=url) == "200 400\n"


def test_checks_for_deployment(tmp_path: Path) -> None:
    """`check --deploy` has nothing to say about an installation on https."""
    check = ["-m", "django", "check", "--deploy", "--fail-level", "INFO"]
    on_https(tmp_path, "-W", "error", *check)


_OVER_HTTPS = """
import django; django.setup()
from django.core.management import call_command; call_command("migrate", verbosity=0)
from django.test import Client
import json
client = Client(SERVER_NAME="console.example")
plain = client.get("/login/")
page = client.get("/login/", secure=True)
choice = client.post("/language/", {"language": "en"}, secure=True)
cookies = {name: [bool(c["secure"]), c["path"], c["domain"]] for name, c in client.cookies.items()}
print(json.dumps({"plain": [plain.status_code, plain.headers["Location"]], "cookies": cookies,
    "hsts": page.headers["Strict-Transport-Security"],
    "other": client.get("/login/", secure=True, headers={"host": "evil.example"}).status_code}))
"""


def test_over_https(tmp_path: Path) -> None:
    """HSTS, no plain http, cookies bound to this very host; other host names are refused."""
    seen = json.loads(on_https(tmp_path, "-c", _OVER_HTTPS))
    assert seen["plain"] == [301, "https://console.example/login/"]
    assert seen["cookies"]["__Host-csrf"] == [True, "/", ""]
    assert seen["cookies"]["django_language"][0] is True
    assert seen["hsts"] == "max-age=31536000"
    assert seen["other"] == 400


async def _ask(length: bytes, chunks: list[bytes], *, cookie: bytes = b"") -> tuple[int, int]:
    """Run `limit_requests` around an application that reads it all; status, and bytes it got."""
    got = 0

    async def app(scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        nonlocal got
        message = await receive()
        got += len(message["body"])
        assert not message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def has_session(cookies: str) -> bool:
        return cookies == "logged in"

    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [(b"content-length", length), (b"cookie", cookie)]
    scope = {"method": "POST", "path": "/", "headers": headers}
    await limit_requests(app, has_session)(scope, receive, send)
    return sent[0]["status"], got


async def test_long_bodies_are_refused() -> None:
    """A long body is refused by its stated length; nothing of it is read."""
    half = b"x" * (MAX_BODY_BYTES // 2)
    most = b"%d" % MAX_BODY_BYTES
    assert await _ask(most, [half, half], cookie=b"logged in") == (200, MAX_BODY_BYTES)
    for length in (b"%d" % (MAX_BODY_BYTES + 1), b"-5", b"x"):
        assert await _ask(length, [half], cookie=b"logged in") == (413, 0)


async def test_strangers_send_no_long_bodies() -> None:
    """A long body is read from those who are logged in; others are sent to the login."""
    form = b"x" * MAX_FORM_BYTES
    assert await _ask(b"%d" % MAX_FORM_BYTES, [form]) == (200, MAX_FORM_BYTES)
    assert await _ask(b"%d" % (MAX_FORM_BYTES + 1), [form, b"x"]) == (302, 0)


def test_who_is_logged_in(browse: Browse, user: User) -> None:
    """A session counts by the cookie of a browser that is logged in, until its end."""
    client = browse(user)
    cookies = client.cookies.output(attrs=[], header="", sep=";").strip()
    assert _has_session(f"a=b; {cookies}")
    client.post("/logout/")
    for cookie in (cookies, "", "sessionid=", "sessionid=\0\xff; ;;=", "x" * 10_000):
        assert not _has_session(cookie)


def test_static_files_are_cached_and_safe(browse: Browse) -> None:
    """Static files need no login, are cached, and carry the policy."""
    answer = browse().get("/static/console/console.css")
    assert answer.status_code == 200
    assert "no-store" not in answer.headers["Cache-Control"]
    assert answer.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    answer.close()
