"""Asks Windows for the proxy that automatic detection or a script (PAC file) names."""

from __future__ import annotations

import sys

_DETECT, _SCRIPT, _BY_DHCP_AND_DNS = 1, 2, 3
_NO_PROXY, _NAMED_PROXY = 1, 3


def scripted_proxies(url: str) -> str | None:
    """Return the proxies for `url` as `host:port;host:port`, empty for none. It may take seconds.

    None: the user has switched neither detection nor a script on, or they fail.
    """
    if sys.platform != "win32":
        return None
    import pywintypes
    import win32inet

    try:
        detects, script, *_ = win32inet.WinHttpGetIEProxyConfigForCurrentUser()
    except pywintypes.error:
        return None
    return ask(url, detects=bool(detects), script=script)


def ask(url: str, *, detects: bool, script: str | None) -> str | None:
    """Return as `scripted_proxies`, for these settings."""
    if sys.platform != "win32" or not (detects or script):
        return None
    import pywintypes
    import win32inet

    flags = (_DETECT if detects else 0) | (_SCRIPT if script else 0)
    options = (flags, _BY_DHCP_AND_DNS if detects else 0, script, None, 0, True)
    try:
        session = win32inet.WinHttpOpen("coconowork-client", _NO_PROXY, None, None, 0)  # type: ignore[arg-type,unused-ignore] # without a proxy's name
        access, proxies, _ = win32inet.WinHttpGetProxyForUrl(session, url, options)
    except pywintypes.error:
        return None
    return proxies if access == _NAMED_PROXY and proxies else ""
