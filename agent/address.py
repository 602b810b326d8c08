"""Check the addresses that people type: of the server, of a proxy, of the console."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Callable
from urllib.parse import SplitResult, quote, unquote, urlsplit

from agent.errors import UserError
from protocol.messages import PATH
from protocol.text import N_

Translate = Callable[[str], str]

_PROXY_SCHEMES = {
    each: each for each in ("http", "https", "socks4", "socks4a", "socks5", "socks5h")
} | {"socks": "socks5h"}
_NO_HOST = N_("Enter a host name, if need be with a port, such as gw.example.com:8443.")
_NOT_ENCRYPTED = N_(
    "Connections without encryption (ws://) are for this PC only; use wss:// instead."
)
_ASCII_OF_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_PROXY = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*)://)?(?:(.*)@)?([^@/?#\\ ]+)/?")
_MAX_SOCKS_BYTES = 255  # of a user and of a password (RFC 1929)
_DEFAULT_PORTS = {"wss": 443, "ws": 80}
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)+")


class BadProxy(ValueError):
    """A proxy's address cannot be used. The text is the place of the setting, never its value."""


def normalise_server(text: str, translate: Translate = str) -> str:
    """Return `host`, `host:port` or a `wss://` address as `wss://host[:port]/path`.

    Only host and port count in the address of a console page (`https://host/login/`). `ws://` is
    allowed on loopback only. Raise UserError in the language of `translate`.
    """
    try:
        return _normalise(text)
    except ValueError as exc:
        known = exc.args[0] if isinstance(exc, _Unusable) else _NO_HOST
        title = translate("This server address cannot be used")
        raise UserError(title, translate(known)) from None


class _Unusable(ValueError):
    """A server's address cannot be used; its argument is a msgid."""


def _normalise(text: str) -> str:
    visible = (char for char in text if unicodedata.category(char) != "Cf")
    text = "".join(visible).translate(_ASCII_OF_FULL_WIDTH).strip().strip("<>\"'").strip()
    if re.match(r"https?://[^/?#]", text, re.IGNORECASE):
        text = re.sub(r"(?<=[^:/])[/?#].*", "", text)
    text = re.sub(r"(/app)?/login/?(\?.*)?$", "", text)
    if not text:
        raise _Unusable(N_("Enter the server's name, such as gw.example.com."))
    scheme, parts = _split(text)
    host, port = _host(parts.hostname or ""), _port(parts)
    scheme = {"https": "wss", "http": "ws", "": "wss"}.get(scheme, scheme)
    if scheme == "ws" and not is_loopback(host):
        raise _Unusable(_NOT_ENCRYPTED)
    if parts.path.startswith("//"):  # `https//host`, in which no scheme was found
        raise _Unusable(_NO_HOST)
    if scheme not in _DEFAULT_PORTS:
        raise _Unusable(N_("The address has to begin with wss://."))
    if parts.path not in {"", "/"} and not _PATH.fullmatch(parts.path):
        raise _Unusable(N_("The address holds characters that are not allowed."))
    shown = place(host, None if port == _DEFAULT_PORTS[scheme] else port)
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
    """Return whether a browser may open `text`: `https://`, or `http://` on loopback."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    if not text.isprintable() or " " in text or not host or "@" in parts.netloc:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))


def read_proxy(text: str, *, default_port: int | None = None) -> str:
    """Return a proxy's address as `scheme://[user:password@]host:port`, with the login escaped.

    An address without a scheme is an HTTP proxy, as for curl. The login ends at the last `@`, so
    that a password may hold an unescaped `@`. Raise BadProxy, which quotes nothing.
    """
    text = text.strip().strip("\"'").strip()
    found = _PROXY.fullmatch(text) if text.isprintable() else None
    try:
        scheme, login, where = found.groups() if found else ("", "", "")
        scheme = _PROXY_SCHEMES[(scheme or "http").lower()]
        parts = urlsplit(f"//{where}")
        default_port = 443 if default_port and scheme == "https" else default_port
        host, port = _host(parts.hostname or ""), _port(parts) or default_port
        login = _login(login or "", socks=scheme.startswith("socks"))
    except (ValueError, LookupError):
        port = None
    if port is None:
        raise BadProxy
    escaped = ":".join(quote(part, safe="") for part in login) + "@" if any(login) else ""
    return f"{scheme}://{escaped}{place(host, port)}"


def without_login(proxy: str) -> str:
    """Return an address from `read_proxy`, or `system` or `none`, without its login."""
    scheme, separator, rest = proxy.partition("://")
    return scheme + separator + rest.rpartition("@")[2]


def _login(text: str, *, socks: bool) -> list[str]:
    """Return user and password. Raise ValueError when they cannot be sent."""
    login = [unquote(part, errors="strict") for part in text.partition(":")[::2]]
    if not socks:  # HTTP sends one text for both, in which the first colon ends the user
        return list(":".join(login).partition(":")[::2])
    if max(len(part.encode()) for part in login) > _MAX_SOCKS_BYTES:
        raise ValueError
    return login


def _split(text: str) -> tuple[str, SplitResult]:
    # urlsplit drops line breaks and tabs silently, and keeps a backslash as part of a name.
    if not text.isprintable() or " " in text or "\\" in text:
        raise _Unusable(N_("The address holds characters that are not allowed."))
    scheme, separator, _ = text.partition("://")
    try:
        parts = urlsplit(text if separator else f"//{text}")
    except ValueError:
        raise _Unusable(N_("The address is not complete.")) from None
    if "@" in parts.netloc:
        raise _Unusable(N_("User name and password do not belong in the server's address."))
    if "?" in text or "#" in text:
        raise _Unusable(N_("The address must not hold “?” or “#”."))
    return (scheme.lower() if separator else ""), parts


def place(host: str, port: int | None) -> str:
    """Return `host:port`, with brackets around an IPv6 address."""
    shown = f"[{host}]" if ":" in host else host
    return shown if port is None else f"{shown}:{port}"


def _port(parts: SplitResult) -> int | None:
    if parts.port == 0 or parts.netloc.endswith(":"):
        raise ValueError
    return parts.port


def _host(text: str) -> str:
    """Return `text` in lower-case ASCII. Raise ValueError when it is no IP address or host name."""
    if ":" in text and "%" not in text:
        return ipaddress.IPv6Address(text).compressed
    if not text.isascii():
        import idna  # its tables take a megabyte, and few addresses need them

        text = idna.encode(text, uts46=True).decode("ascii")
    host = text.lower().removesuffix(".")
    labels = host.split(".")
    if labels[-1].isdigit() or labels[-1].startswith("0x"):
        return str(ipaddress.IPv4Address(host))
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError
    return host
