"""The addresses of servers, proxies and consoles that a user may type."""

from __future__ import annotations

import pytest

from agent.address import (
    BadProxy,
    is_console_url,
    is_loopback,
    normalise_server,
    read_proxy,
    without_login,
)
from agent.connection import InsecureAddress, open_connection
from agent.errors import UserError

SPELLINGS = {
    "wss://gw.example.com/gateway": [
        " GW.Example.COM \n", "gw.example.com.", "gw.example.com:443", "WSS://gw.example.com/",
        "https://gw.example.com", "gw.example。com", "https://gw.example.com/users/7/#end",
        "gw.example.com/app/login/?next=/app/", "<https://gw.example.com/>",
        "gw.example.com\N{ZERO WIDTH SPACE}",
    ],
    "wss://gw.example.com:8443/gateway": [
        "ｇｗ．ｅｘａｍｐｌｅ．ｃｏｍ：８４４３", "https://gw.example.com:8443/login/?next=/pcs/",
    ],
    "wss://gw.example.com/other/path": ["wss://gw.example.com/other/path"],
    "wss://xn--wgv71a119e.example.jp/gateway": ["日本語.example.jp"],
    "wss://xn--fa-hia.de/gateway": ["faß.de"],
    "wss://192.0.2.7:8443/gateway": ["192.0.2.7:8443"],
    "wss://[2001:db8::1]:8443/gateway": ["wss://[2001:DB8::1]:8443"],
    "wss://localhost:8081/gateway": ["localhost:8081"],
    "ws://localhost/gateway": ["ws://localhost:80"],
    "ws://127.255.0.9:8081/gateway": ["http://127.255.0.9:8081/"],
    "ws://[::1]:8081/gateway": ["ws://[::1]:8081/gateway"],
}  # fmt: skip


@pytest.mark.parametrize("meant", SPELLINGS)
def test_one_form_for_every_spelling(meant: str) -> None:
    """Every spelling of a server's address becomes one form, for vault and settings."""
    assert {normalise_server(typed) for typed in [meant, *SPELLINGS[meant]]} == {meant}


COMPLAINTS = {
    "Enter the server's name": ["", "   "],
    "use wss://": [
        "ws://gw.example.com", "http://gw.example.com", "ws://127.0.0.1.example.com",
        "ws://[::ffff:192.0.2.1]",
    ],
    "begin with wss://": ["ftp://gw.example.com", "javascript://gw.example.com"],
    "User name and password do not belong": [
        "wss://user:hidden-word@gw.example.com", "user@gw.example.com",
    ],
    "must not hold": ["wss://gw.example.com/?a=b", "wss://gw.example.com#"],
    "not allowed": [
        "gw example com", "gw.example.com\\x", "gw.exa\tmple.com", "gw.example.com\x00",
        "wss://gw.example.com/\N{SNOWMAN}",
    ],
    "host name": [
        "gw.example.com:0", "gw.example.com:65536", "gw.example.com:port", "2001:db8::1",
        "wss:gw.example.com", "wss:", "//gw.example.com", "wss://", "https//gw.example.com",
        "a..b", "-a.b", "x" * 64, ".".join(["x" * 60] * 5), "127.1", "0x7f.0x1", "1.2.3.256",
        "wss://[::1%25eth0]",
    ],
    "not complete": ["wss://[::1", "gw\N{CARE OF}.example.com"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [(typed, complaint) for complaint, texts in COMPLAINTS.items() for typed in texts],
)
def test_everything_else_is_explained(typed: str, complaint: str) -> None:
    """Text that is no address raises an error in the user's language, without passwords in it."""
    with pytest.raises(UserError, match=r"^<") as caught:
        normalise_server(typed, lambda text: f"<{text}>")
    assert complaint in caught.value.message
    assert caught.value.message.startswith("<")
    assert "hidden-word" not in str(caught.value)


def test_loopback_is_known_without_asking() -> None:
    """Loopback is known by name and number only, because a name's addresses can change."""
    assert all(map(is_loopback, ["localhost", "127.9.9.9", "::1"]))
    assert not any(map(is_loopback, ["", "gw", "localhost.", "127.1", "128.0.0.1", "::2", "[::1]"]))


def test_console_urls() -> None:
    """A console's address is https, or http on loopback, and no address with a script."""
    good = ["https://c.example.com:8443/x?y", "http://localhost:8080/"]
    bad = [
        "http://c.example.com", "javascript:alert(1)", "https://", "https://u:p@c.example.com",
        "https://c.example.com:x", "https://c.example.com/a b", "https://c.example.com/\n",
        "https://[::1", "",
    ]  # fmt: skip
    assert all(map(is_console_url, good))
    assert not any(map(is_console_url, bad))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("proxy.example.com:8080", "http://proxy.example.com:8080"),
        (' "HTTP://Proxy.example.com:8080/" ', "http://proxy.example.com:8080"),
        ("socks5h://[2001:db8::1]:1080", "socks5h://[2001:db8::1]:1080"),
        ("socks://proxy:1080", "socks5h://proxy:1080"),
        ("http://me@proxy:8080", "http://me:@proxy:8080"),
        ("http://me:Te#ll/ta?le@proxy:8080", "http://me:Te%23ll%2Fta%3Fle@proxy:8080"),
        ("me:Tell@tale://x@proxy:8080", "http://me:Tell%40tale%3A%2F%2Fx@proxy:8080"),
        ("http://me:%C3%A9%20x@proxy:8080", "http://me:%C3%A9%20x@proxy:8080"),
        ("http://OFFICE%3Ame:Telltale@proxy:8080", "http://OFFICE:me%3ATelltale@proxy:8080"),
        ("socks5://OFFICE%3Ame:Telltale@proxy:1080", "socks5://OFFICE%3Ame:Telltale@proxy:1080"),
        ("http://プロキシ.jp:8080", "http://xn--nckua8gwd.jp:8080"),
    ],
)
def test_proxies(typed: str, meant: str) -> None:
    """Proxies are read as curl reads them; the stored form has the login escaped."""
    assert read_proxy(typed) == read_proxy(meant) == meant
    scheme, _, rest = meant.partition("//")
    assert without_login(meant) == f"{scheme}//{rest.rpartition('@')[2]}"


@pytest.mark.parametrize(
    "typed",
    [
        "", "http://proxy.example.com", "ftp://proxy.example.com:21", "http://:8080",
        "http://proxy.example.com:8080/path", "http://proxy.example.com:8080?x", "http://a b:8080",
        "http://proxy.example.com:0", "http://proxy.example.com:99999",
        "http://me:Telltale@proxy:port", "http://me:Telltale%ff@proxy:8080",
        "http://me:Tell\ntale@proxy:8080", "http://me:Telltale#@[::1",
        f"socks5h://me:Telltale{'x' * 248}@proxy:1080", f"socks5://{'é' * 128}:Telltale@proxy:1080",
    ],
)  # fmt: skip
def test_what_is_no_proxy(typed: str) -> None:
    """What is no proxy raises an error that quotes nothing in text, cause or context."""
    with pytest.raises(BadProxy) as caught:
        read_proxy(typed)
    assert "Telltale" not in repr((caught.value, caught.value.__cause__, caught.value.__context__))


async def test_no_connection_without_encryption() -> None:
    """An address without encryption is refused before its name is looked up."""
    for address in ("ws://gw.example.com/gateway", "ws://192.0.2.1/gateway", "ws://127.1.evil/"):
        with pytest.raises(InsecureAddress):
            await open_connection(address, proxy=None)
