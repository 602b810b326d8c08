"""server/addresses.py: one rule for the address that a request comes from."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from server.addresses import MAX_HOPS, client_address, counted_address, is_trusted

PROXY = "10.0.0.1"
WAYS_TO_WRITE = {
    "203.0.113.9": [
        "203.0.113.9", "203.0.113.9:51234", '"203.0.113.9"', "::ffff:203.0.113.9",
        "[::ffff:203.0.113.9]:80", "  203.0.113.9  ", "203.0.113.9, , 10.0.0.2,",
    ],
    "2001:db8::9": [
        "[2001:db8::9]:51234", "[2001:db8::9]", '"[2001:db8::9]:51234"', "2001:DB8:0:0:0:0:0:9",
    ],
    "fe80::9": ["fe80::9%eth0"],
    # Not an address: the result is the proxy that reported it.
    PROXY: [
        "unknown", "203.0.113.9, unknown", "999.0.0.1", "203.0.113.9:port", "[2001:db8::9",
        "\u0661.2.3.4", "\0'\u3000", " , ",
    ],
}  # fmt: skip
TRUSTED = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        # no proxy
        ("192.0.2.7", ["203.0.113.9"], "192.0.2.7"),
        ("::ffff:192.0.2.7", [], "192.0.2.7"),
        ("fe80::1%eth0", [], "fe80::1"),
        # one proxy
        ("::ffff:10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("fd00::1", ["2001:db8::9"], "2001:db8::9"),
        (PROXY, [], PROXY),
        # several proxies, one header or several
        (PROXY, ["203.0.113.9", "10.0.0.2"], "203.0.113.9"),
        (PROXY, ["10.0.0.3,10.0.0.2"], "10.0.0.3"),
        (PROXY, ["203.0.113.9", ""], "203.0.113.9"),
        (PROXY, ["203.0.113.9, unknown, 10.0.0.2"], "10.0.0.2"),
        # the client's own header is not trusted
        (PROXY, ["198.51.100.1", "203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        *((PROXY, [each], address) for address, all_ in WAYS_TO_WRITE.items() for each in all_),
    ],
)
def test_client_address(peer: str, forwarded: list[str], expected: str) -> None:
    """Every form of X-Forwarded-For that real proxies write gives the right client."""
    assert client_address(peer, forwarded, TRUSTED) == expected
    assert client_address(peer, forwarded, ()) == client_address(peer, [], TRUSTED)


@pytest.mark.parametrize(
    "values",
    [
        ["203.0.113.9," + "10.0.0.2," * 5_000],
        ["203.0.113.9"] + ["10.0.0.2"] * 5_000,
        ["," * 16_000],
    ],
)
def test_long_header_is_read_from_the_right_only(values: list[str]) -> None:
    """Of a header with thousands of entries only the last ones are read."""
    assert client_address("10.0.0.1", values, TRUSTED) in {"10.0.0.1", "10.0.0.2"}
    assert MAX_HOPS <= 32


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:DB8:1:2::7", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_counted_address(address: str, expected: str) -> None:
    """Limits count an IPv4 address, and the /64 of an IPv6 address."""
    assert counted_address(address) == expected


def test_text_that_is_no_address_is_refused() -> None:
    """A peer that is not an IP address raises."""
    with pytest.raises(ValueError, match="does not appear"):
        client_address("", [], ())
    with pytest.raises(ValueError, match="does not appear"):
        counted_address("unknown")


def test_trusted_networks_hold_mapped_addresses() -> None:
    """A proxy that connects over IPv6 with its IPv4 address is the same proxy."""
    assert is_trusted("::ffff:10.1.2.3", TRUSTED)
    assert not is_trusted("192.0.2.7", TRUSTED)
