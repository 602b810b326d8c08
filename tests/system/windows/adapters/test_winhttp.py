"""Scripts that name a proxy (PAC files), as Windows runs them."""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("for Windows")

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from agent.proxies import scripted_proxies
from agent.proxy_login import windows_login

PAC = b"""function FindProxyForURL(url, host) {
    if (host == "gw.example.com") return "PROXY proxy.example.com:3128; PROXY second:80";
    return "DIRECT";
}"""


class Office(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/proxy.pac" else 404)
        self.send_header("Content-Type", "application/x-ns-proxy-autoconfig")
        self.send_header("Content-Length", str(len(PAC)))
        self.end_headers()
        self.wfile.write(PAC)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def office() -> Iterator[str]:
    """Yield the address of a web server that has a PAC file."""
    with HTTPServer(("127.0.0.1", 0), Office) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_script_names_the_proxy(office: str) -> None:
    """A script gives its first proxy or a direct way; a failed fetch gives no answer."""
    script = f"{office}/proxy.pac"
    named = scripted_proxies("https://gw.example.com/", (False, script))
    assert (named or "").startswith("proxy.example.com:3128")
    assert scripted_proxies("https://other.example.com/", (False, script)) == ""
    assert scripted_proxies("https://gw.example.com/", (False, "http://127.0.0.1:9/x")) is None
    assert scripted_proxies("https://gw.example.com/", (False, None)) is None


@pytest.mark.parametrize("scheme", ["Negotiate", "NTLM"])
def test_windows_makes_the_first_token(scheme: str) -> None:
    """Windows makes the first message of NTLM or SPNEGO, unless it lacks the scheme."""
    login = windows_login(scheme, "proxy.example.com")
    token = login(b"") if login is not None else b""
    assert token == b"" or token.startswith((b"NTLMSSP\0", b"\x60"))
    print(f"{scheme}: {len(token)} bytes")


def test_the_users_settings_can_be_asked() -> None:
    """Without a script, and with detection off or without a result, Windows names no proxy."""
    assert scripted_proxies("https://gw.example.com/") in {None, ""}
