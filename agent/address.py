"""Checks the addresses that people type: of the server, of a proxy, of the console."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from urllib.parse import SplitResult, urlsplit

from agent.errors import UserError
from protocol.messages import PATH

Translate = Callable[[str], str]

PROXY_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")
_DEFAULT_PORTS = {"wss": 443, "ws": 80}
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)+")


class AddressError(UserError):
    """The address cannot be used; `message` says what is allowed."""


def normalise_server(text: str, translate: Translate = str) -> str:
    """Return `host`, `host:port` or a `wss://` address as `wss://host[:port]/path`.

    `ws://` is allowed on loopback only. Raise AddressError in the language of `translate`.
    """
    title = translate("This server address cannot be used")
    text = text.strip()
    if not text:
        raise AddressError(title, translate("Enter the server's name, such as gw.example.com."))
    scheme, parts = _split(text, title, translate)
    try:
        host = _host(parts.hostname or "")
        port = _port(parts)
    except ValueError:
        raise AddressError(
            title,
            translate("Enter a host name, if need be with a port, such as gw.example.com:8443."),
        ) from None
    scheme = {"https": "wss", "http": "ws", "": "wss"}.get(scheme, scheme)
    if scheme == "ws" and not is_loopback(host):
        raise AddressError(
            title,
            translate(
                "Connections without encryption (ws://) are for this PC only; use wss:// instead."
            ),
        )
    if scheme not in _DEFAULT_PORTS:
        raise AddressError(title, translate("The address has to begin with wss://."))
    if parts.path not in {"", "/"} and not _PATH.fullmatch(parts.path):
        raise AddressError(title, translate("The address holds characters that are not allowed."))
    shown = f"[{host}]" if ":" in host else host
    if port is not None and port != _DEFAULT_PORTS[scheme]:
        shown = f"{shown}:{port}"
    return f"{scheme}://{shown}{parts.path if parts.path not in {'', '/'} else PATH}"


def is_loopback(host: str) -> bool:
    """Return whether `host`, without brackets, names this PC. No name is looked up."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_console_url(text: str) -> bool:
    """Return whether a browser may open it: `https://`, or `http://` on loopback."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    if not text.isprintable() or " " in text or not host or "@" in parts.netloc:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))


def is_proxy_url(text: str) -> bool:
    """Return whether it is a proxy's URL, such as `http://proxy.example.com:8080`."""
    try:
        parts = urlsplit(text)
        host, port = _host(parts.hostname or ""), _port(parts)
    except ValueError:
        return False
    return (
        parts.scheme in PROXY_SCHEMES
        and bool(host)
        and port is not None
        and parts.path in {"", "/"}
        and not parts.query
        and not parts.fragment
        and text.isprintable()
        and " " not in text
    )


def _split(text: str, title: str, translate: Translate) -> tuple[str, SplitResult]:
    # urlsplit drops line breaks and tabs silently, and keeps a backslash as part of a name.
    if not text.isprintable() or " " in text or "\\" in text:
        raise AddressError(title, translate("The address holds characters that are not allowed."))
    scheme, separator, _ = text.partition("://")
    try:
        parts = urlsplit(text if separator else f"//{text}")
    except ValueError:
        raise AddressError(title, translate("The address is not complete.")) from None
    if "@" in parts.netloc:
        raise AddressError(
            title, translate("User name and password do not belong in the server's address.")
        )
    if "?" in text or "#" in text:
        raise AddressError(title, translate("The address must not hold “?” or “#”."))
    return (scheme.lower() if separator else ""), parts


def _port(parts: SplitResult) -> int | None:
    if parts.port == 0 or parts.netloc.endswith(":"):
        raise ValueError
    return parts.port


def _host(text: str) -> str:
    """Return `text` in lower-case ASCII. Raise ValueError when it is no IP address or host name."""
    if ":" in text:
        return ipaddress.IPv6Address(text).compressed if "%" not in text else _refuse()
    try:
        host = text.encode("idna").decode("ascii").lower().removesuffix(".")
    except UnicodeError:
        raise ValueError from None
    labels = host.split(".")
    if labels[-1].isdigit() or labels[-1].startswith("0x"):
        return str(ipaddress.IPv4Address(host))
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError
    return host


def _refuse() -> str:
    raise ValueError
