"""Answer a request of `doctor` with how the request arrived here, after passing all proxies.

`doctor` signs the time with the secret key and sends the signature in a header. Console and gateway
answer such a request, to any path, with its address and headers. Requests without a valid signature
are served as usual, so strangers learn nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from django.conf import settings
from django.core.signing import BadSignature, TimestampSigner

from server import config
from server.addresses import Network, client_address

HEADER = "X-Coconowork-Doctor"
MAX_AGE_S = 300
"""Seconds for which a token is valid: more than the clocks of two nodes may differ."""


class Reflection(msgspec.Struct, frozen=True):
    """A request as a process of this server received it."""

    part: str
    """`console` or `gateway`."""
    peer: str
    """The address at the other end of the socket: the nearest proxy's."""
    address: str
    """The client's address that limits and the audit trail use."""
    forwarded_for: list[str]
    """Each `X-Forwarded-For` header."""
    forwarded_proto: str
    host: str
    public_url: str
    trusted_proxies: list[str]


def _signer(key: str) -> TimestampSigner:
    return TimestampSigner(key=key, salt="coconowork.doctor", fallback_keys=[])


def sign(key: str) -> str:
    """Return a value of `HEADER`, valid for `MAX_AGE_S` from now."""
    return _signer(key).sign("doctor")


def reflect(
    part: str, peer: str, headers: Iterable[tuple[str, str]], *, trusted: Sequence[Network]
) -> str | None:
    """Return the answer to `doctor` as JSON, or None for any other request."""
    fields = [(name.lower(), value) for name, value in headers]
    token = dict(fields).get(HEADER.lower())
    if token is None:
        return None
    try:
        _signer(settings.SECRET_KEY).unsign(token, max_age=MAX_AGE_S)
    except BadSignature:
        return None
    hops = [value for name, value in fields if name == "x-forwarded-for"]
    found = Reflection(
        part=part,
        peer=peer,
        address=client_address(peer, hops, trusted),
        forwarded_for=hops,
        forwarded_proto=dict(fields).get("x-forwarded-proto", "").strip().lower(),
        host=dict(fields).get("host", ""),
        public_url=config.current().public_url,
        trusted_proxies=[str(each) for each in trusted],
    )
    return msgspec.json.encode(found).decode()
