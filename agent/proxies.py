"""Find the proxies in the client's settings, the environment, or Windows' Internet Options.

The variables mean what they mean for curl. In Internet Options, automatic detection and a script
(PAC file) come before the fixed proxy, as for browsers; Windows may take seconds to ask them.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from agent.address import BadProxy, is_loopback, read_proxy
from agent.settings import Registry, read_registry

_VARIABLES = ("wss_proxy", "https_proxy", "all_proxy", "socks_proxy")
_CURLS_PORT, _WINDOWS_PORT = 1080, 80  # for an address without a port
_DETECT, _SCRIPT, _BY_DHCP_AND_DNS = 1, 2, 3
_NO_PROXY, _NAMED_PROXY = 1, 3  # WinHTTP's flags and kinds of access
_OPTIONS = r"Software\Microsoft\Windows\CurrentVersion\Internet Settings"
_POLICY = r"Software\Policies\Microsoft\Windows\CurrentVersion\Internet Settings"


def scripted_proxies(url: str, config: tuple[bool, str | None] | None = None) -> str | None:
    """Return the proxies for `url` as `host:port;host:port`, empty for none. This may take seconds.

    None: the user has switched on neither detection nor a script, or they fail. `config` replaces
    the user's settings: whether to detect, and the script's URL.
    """
    if sys.platform != "win32":
        return None
    import pywintypes
    import win32inet

    try:
        detects, script, *_ = config or win32inet.WinHttpGetIEProxyConfigForCurrentUser()
        if not (detects or script):
            return None
        flags = (_DETECT if detects else 0) | (_SCRIPT if script else 0)
        options = (flags, _BY_DHCP_AND_DNS if detects else 0, script, None, 0, True)
        session = win32inet.WinHttpOpen("coconowork-client", _NO_PROXY, None, None, 0)  # type: ignore[arg-type,unused-ignore] # without a proxy's name
        access, proxies, _ = win32inet.WinHttpGetProxyForUrl(session, url, options)
    except pywintypes.error:
        return None
    return proxies if access == _NAMED_PROXY and proxies else ""


def find_proxies(
    server: str,
    setting: str,
    *,
    environ: Mapping[str, str] = os.environ,
    registry: Registry = read_registry,
    scripted: Callable[[str], str | None] = scripted_proxies,
) -> list[str | None]:
    """Return the proxies for `server`, in the order to try. The call blocks: make it off the loop.

    None in the list is the way without a proxy; the list is never empty. `setting` is `system`,
    `none` or an address from `read_proxy`. Raise BadProxy with the place of the bad address.
    """
    parts = urlsplit(server)
    host, port = parts.hostname or "", parts.port or 443
    if setting == "none" or is_loopback(host):
        return [None]
    if setting != "system":
        return [setting]
    place, address = _first(environ, *_VARIABLES)
    _, exceptions = _first(environ, "no_proxy")
    exempt = any(_covers(each, host, port, below=True) for each in re.split(r"[\s,;]+", exceptions))
    addresses, default_port = [address], _CURLS_PORT
    if not address:
        place, default_port = "Internet Options", _WINDOWS_PORT
        addresses, exceptions = _internet_options(registry, scripted(f"https://{parts.netloc}/"))
        exempt |= any(_covers(each, host, port) for each in _listed(exceptions))
    if exempt or not addresses:
        return [None]
    proxies: list[str | None] = []
    for each in addresses:
        with suppress(BadProxy):  # skip it when another can be used, as browsers do
            direct = each.upper() == "DIRECT"
            proxies.append(None if direct else read_proxy(each, default_port=default_port))
    if not proxies:
        raise BadProxy(place)
    return proxies


def _first(environ: Mapping[str, str], *names: str) -> tuple[str, str]:
    """Return the first variable that is set, in lower or upper case, and its value; or blanks."""
    both_cases = (each for name in names for each in (name, name.upper()))
    values = ((each, environ.get(each, "").strip()) for each in both_cases)
    return next((found for found in values if found[1]), ("", ""))


def _internet_options(registry: Registry, scripted: str | None) -> tuple[list[str], str]:
    """Return the proxies for TLS connections, and the list of exceptions."""
    if scripted is not None:
        return _listed(scripted), ""
    per_machine = any(values.get("ProxySettingsPerUser") == 0 for _, values in registry(_POLICY))
    for key, values in registry(_OPTIONS):
        if key.startswith("HKLM") is not per_machine or not values.get("ProxyEnable"):
            continue
        # `host:port` for everything, or `https=host:port;socks=host:port`
        proxies: dict[str, list[str]] = {}
        for entry in _listed(str(values.get("ProxyServer") or "")):
            kind, _, address = entry.rpartition("=")
            if kind.lower() == "socks" and address and "://" not in address:
                address = f"socks5h://{address if ':' in address else f'{address}:{_CURLS_PORT}'}"
            proxies.setdefault(kind.lower(), []).extend([address] if address else [])
        found = proxies.get("https") or proxies.get("") or proxies.get("socks") or []
        return found, str(values.get("ProxyOverride") or "")
    return [], ""


def _listed(text: str) -> list[str]:
    """Return the entries of a list in Windows' form, separated by semicolons or blanks."""
    return text.replace(";", " ").split()


def _covers(entry: str, host: str, port: int, *, below: bool = False) -> bool:
    """Return whether an exception covers `host`; `below`: a name covers its subdomains too."""
    entry = entry.lower()
    entry = (entry.partition("://")[2] or entry).rstrip("/")
    name, separator, number = entry.rpartition(":")
    if separator and number.isdigit() and (":" not in name or name.endswith("]")):
        if int(number) != port:
            return False
        entry = name
    entry = entry.replace("[", "").replace("]", "")
    if entry == "<local>":
        return "." not in host and ":" not in host
    with suppress(ValueError):
        return ip_address(host) in ip_network(entry, strict=False)
    name = entry.removeprefix("*").strip(".")
    return fnmatchcase(host, entry) or (
        below and bool(name) and (host == name or host.endswith(f".{name}"))
    )
