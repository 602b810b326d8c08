"""Sources of the proxy setting, servers that are exempt, and bad settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from agent.address import BadProxy
from agent.proxies import find_proxies

GW = "wss://gw.corp.example/gateway"
OPTIONS = r"Software\Microsoft\Windows\CurrentVersion\Internet Settings"


def found(
    server: str = GW,
    environ: Mapping[str, str] = {},
    windows: Mapping[str, object] | None = None,
) -> str | None:
    """Return the one proxy for `server`, variables and Internet Options; None: no proxy."""

    def registry(key: str) -> Iterator[tuple[str, Mapping[str, object]]]:
        if key == OPTIONS and windows is not None:
            yield rf"HKLM\{key}", {}
            yield rf"HKCU\{key}", windows

    (proxy,) = find_proxies(server, "system", environ=environ, registry=registry)
    return proxy


def options(server: object, **more: object) -> str | None:
    return found(windows={"ProxyEnable": 1, "ProxyServer": server, **more})


@pytest.mark.parametrize(
    ("environ", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "proxy:8080"}, "http://proxy:8080"),
        ({"HTTPS_PROXY": "proxy"}, "http://proxy:1080"),
        ({"HTTPS_PROXY": "https://proxy"}, "https://proxy:443"),
        ({"HTTPS_PROXY": ' "http://proxy:8080" '}, "http://proxy:8080"),
        ({"https_proxy": "http://small:1", "HTTPS_PROXY": "http://large:1"}, "http://small:1"),
        ({"ALL_PROXY": "socks5h://proxy:1080"}, "socks5h://proxy:1080"),
        ({"HTTPS_PROXY": " ", "ALL_PROXY": "http://proxy:1"}, "http://proxy:1"),
        ({"HTTP_PROXY": "http://proxy:8080"}, None),
    ],
)
def test_environment(environ: dict[str, str], proxy: str | None) -> None:
    """Proxy variables have the meaning that they have for curl."""
    assert found(environ=environ) == proxy


def test_a_bad_variable_is_named() -> None:
    """The error names the bad proxy variable, and quotes nothing of its value."""
    with pytest.raises(BadProxy) as caught:
        found(environ={"HTTPS_PROXY": "http://me:Telltale@proxy:x"})
    assert str(caught.value) == "HTTPS_PROXY"
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("server", "proxy"),
    [
        (" proxy:8080;", "http://proxy:8080"),
        ("; ;proxy:8080", "http://proxy:8080"),
        ("proxy", "http://proxy:80"),
        ("http=a:1;https=b:2;socks=c:3", "http://b:2"),
        ("https=http://b:2", "http://b:2"),
        ("https=;socks=;d:4", "http://d:4"),
        ("socks=host", "socks5h://host:1080"),
        ("http=a:1", None),
        (None, None),
    ],
)
def test_internet_options(server: object, proxy: str | None) -> None:
    """Internet Options, if on: the proxy for `https=`, else the one for all, else SOCKS."""
    assert options(server) == proxy
    assert options(server, ProxyEnable=0) is None


@pytest.mark.parametrize(
    ("environ", "said", "proxies"),
    [
        ({}, "first:3128;second DIRECT", ["http://first:3128", "http://second:80", None]),
        ({}, "first:port;second:80", ["http://second:80"]),
        ({}, " ;second:80", ["http://second:80"]),
        ({}, "", [None]),
        ({}, None, ["http://fixed:80", "http://other:81"]),
        ({"https_proxy": "http://environment:1"}, "first:3128", ["http://environment:1"]),
    ],
)
def test_a_script_comes_before_the_fixed_proxies(
    environ: dict[str, str], said: str | None, proxies: list[str | None]
) -> None:
    """Proxies of detection or a script come before fixed ones; the environment comes first."""
    asked: list[str] = []

    def scripted(url: str) -> str | None:
        asked.append(url)
        return said

    values: dict[str, object] = {"ProxyEnable": 1, "ProxyServer": "fixed:80;other:81"}
    registry = lambda key: iter([(rf"HKCU\{key}", values)])  # noqa: E731 - short
    found = find_proxies(GW, "system", environ=environ, registry=registry, scripted=scripted)
    assert found == proxies
    assert asked == ([] if environ else ["https://gw.corp.example/"])


def test_a_bad_internet_option_is_named() -> None:
    """An unusable address in Internet Options is a bad setting, not a refusal by a proxy."""
    with pytest.raises(BadProxy, match="Internet Options"):
        options("https=proxy:port")


@pytest.mark.parametrize(("per_user", "proxy"), [(0, "machine"), (1, "user")])
def test_internet_options_of_the_machine(per_user: int, proxy: str) -> None:
    """A policy may apply the machine's Internet Options to all users."""

    def registry(key: str) -> Iterator[tuple[str, Mapping[str, object]]]:
        values = {"ProxyEnable": 1, "ProxySettingsPerUser": per_user}
        yield rf"HKLM\{key}", {**values, "ProxyServer": "machine:1"}
        yield rf"HKCU\{key}", {"ProxyEnable": 1, "ProxyServer": "user:1"}

    assert find_proxies(GW, "system", environ={}, registry=registry) == [f"http://{proxy}:1"]


@pytest.mark.parametrize(
    ("override", "server", "exempt"),
    [
        ("*.corp.example", GW, True),
        ("*.corp.example;<local>", "wss://gw/gateway", True),
        ("corp.example", GW, False),
        ("gw.corp.example:443", GW, True),
        ("10.*", "wss://10.1.2.3/gateway", True),
        ("<local>", GW, False),
        ("https://gw.corp.*", GW, True),
    ],
)
def test_exceptions_of_the_internet_options(override: str, server: str, exempt: bool) -> None:
    """Exceptions in Internet Options are whole names with wildcards, and `<local>`."""
    values = {"ProxyEnable": 1, "ProxyServer": "proxy:8080", "ProxyOverride": override}
    assert (found(server, windows=values) is None) is exempt


@pytest.mark.parametrize(
    ("host", "exempt", "others"),
    [
        (
            "gw.corp.example",
            [
                "*", "*.corp.example", ".corp.example", "corp.example", "gw.corp.example:443",
                "other.example, .CORP.example", "other.example;gw.corp.example",
                "other.example gw.corp.example",
            ],
            ["orp.example", "gw.corp.example:8443", "", ",; ,", "."],
        ),
        ("corp.example", ["corp.example", ".corp.example"], []),
        ("gw.corp.example:8443", ["gw.corp.example:8443", "https://gw.corp.example:8443/"], []),
        ("10.1.2.3", ["10.0.0.0/8", "10.200.0.1/8", "10.1.2.3"], ["11.0.0.0/8"]),
        ("10.example", [], ["10.0.0.0/8"]),
        (
            "[2001:db8::1]",
            ["[2001:db8::1]", "2001:DB8:0::1", "[2001:db8::1]:443", "[2001:db8::]/32"],
            ["[2001:db8::1]:8443", "2001:db9::/32"],
        ),
    ],
)  # fmt: skip
def test_no_proxy(host: str, exempt: list[str], others: list[str]) -> None:
    """The usual forms of `no_proxy` are known; none looks up a name."""
    for no_proxy in exempt + others:
        environ = {"HTTPS_PROXY": "http://proxy:8080", "NO_PROXY": no_proxy}
        is_exempt = found(f"wss://{host}/gateway", environ) is None
        assert is_exempt is (no_proxy in exempt), no_proxy


def test_what_needs_no_environment() -> None:
    """A server on loopback is reached without a proxy; the client's own setting wins."""
    environ = {"HTTPS_PROXY": "http://proxy:8080"}
    assert found("wss://localhost/gateway", environ) is None
    assert found("ws://127.0.0.1:8081/gateway", environ) is None
    assert find_proxies(GW, "none", environ=environ) == [None]
    assert find_proxies(GW, "http://own:1", environ=environ) == ["http://own:1"]
