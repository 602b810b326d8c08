"""Decide which address a request comes from, and which address its limits are counted by.

The gateway and the console ask these functions and no others, so that both see one client under one
address: in the audit trail, in log lines, in every limit and in every lockout.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from itertools import islice

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_HOPS = 16
"""Most entries of `X-Forwarded-For` that are read, from the right. No installation has more
proxies, but a stranger may send thousands of entries."""
IPV6_PREFIX_BITS = 64
"""One customer of an IPv6 provider chooses addresses from a whole /64."""

_hop = re.compile(
    r'"?(?:\[(?P<ipv6>[^\]]*)\](?::\d+)?|(?P<ipv4>[\d.]+)(?::\d+)?|(?P<bare>[^"]*))"?'
)


def client_address(peer: str, forwarded_for: Sequence[str], trusted: Sequence[Network]) -> str:
    """Return the client's address: the nearest address that is not a trusted proxy's.

    `peer` is the address at the other end of the socket. `forwarded_for` are the values of all
    `X-Forwarded-For` headers in their order. Each proxy appends the address that
    connected to it, so entries are read from the right, and only while the address that reported
    them is trusted. Blank entries are skipped. An entry that is no address (`unknown`, `_hidden`,
    garbage) ends the reading: the result is then the proxy that reported it.

    An entry may have a port, brackets or quotes. An IPv4 address inside IPv6 becomes IPv4, and an
    interface's scope is dropped. Raise ValueError when `peer` is no address.
    """
    address = _parse(peer)
    if trusted and forwarded_for and is_trusted(address, trusted):
        for hop in _nearest_first(forwarded_for):
            try:
                address = _parse_hop(hop)
            except ValueError:
                break
            if not is_trusted(address, trusted):
                break
    return str(address)


def counted_address(address: str) -> str:
    """Return an address as limits count it: its /64 for IPv6, else itself. Raise ValueError."""
    parsed = _parse(address)
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, IPV6_PREFIX_BITS), strict=False))


def is_trusted(address: str | Address, trusted: Sequence[Network]) -> bool:
    """Return whether `address` is in one of the networks. Raise ValueError if it is no address."""
    if not trusted:
        return False
    parsed = _parse(address) if isinstance(address, str) else address
    return any(parsed in network for network in trusted)


def _nearest_first(forwarded_for: Sequence[str]) -> list[str]:
    """Return the last `MAX_HOPS` entries that are not blank, the last one first."""
    # MAX_HOPS limits blank entries, too, so that a line of commas costs nothing.
    entries = (
        entry.strip()
        for value in reversed(forwarded_for[-MAX_HOPS:])
        for entry in reversed(value.rsplit(",", MAX_HOPS)[-MAX_HOPS:])
    )
    return list(islice(filter(None, entries), MAX_HOPS))


def _parse_hop(text: str) -> Address:
    """Return the address of one entry of `X-Forwarded-For`. Raise ValueError."""
    match = _hop.fullmatch(text)
    if match is None:
        raise ValueError("not an address")
    return _parse(match["ipv6"] or match["ipv4"] or match["bare"] or "")


def _parse(text: str) -> Address:
    """Return the address, IPv4 inside IPv6 as IPv4, without a scope. Raise ValueError."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address
