"""Whom a connection comes from, also behind a proxy."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from server.config import Network


def client_address(peer: str, forwarded_for: Sequence[str], trusted: Sequence[Network]) -> str:
    """The nearest address that is no trusted proxy.

    `forwarded_for` are the values of all `X-Forwarded-For` headers in their order. Each proxy
    adds whom it sees at the end, so what stands before the first untrusted address from the
    right is hearsay and is not looked at.
    """
    if not (trusted and forwarded_for) and ":" not in peer:
        return peer
    address = _parse(peer)
    hops = [hop.strip() for value in forwarded_for for hop in value.split(",")]
    while hops and any(address in network for network in trusted):
        try:
            address = _parse(hops.pop())
        except ValueError:
            break
    return str(address)


def _parse(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Raise ValueError. IPv4 inside IPv6 becomes IPv4; an interface's scope is dropped."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address
