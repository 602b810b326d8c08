"""Asks Windows for the proxy that automatic detection or a script (PAC file) names."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_void_p, wintypes
from typing import Any


class _UserConfig(ctypes.Structure):
    """WINHTTP_CURRENT_USER_IE_PROXY_CONFIG."""

    _fields_ = (
        ("detects", wintypes.BOOL),
        ("script", c_void_p),
        ("proxy", c_void_p),
        ("bypass", c_void_p),
    )


class _Options(ctypes.Structure):
    """WINHTTP_AUTOPROXY_OPTIONS."""

    _fields_ = (
        ("flags", wintypes.DWORD),
        ("detection", wintypes.DWORD),
        ("script", wintypes.LPCWSTR),
        ("reserved", c_void_p),
        ("reserved_too", wintypes.DWORD),
        ("may_log_on", wintypes.BOOL),
    )


class _ProxyInfo(ctypes.Structure):
    """WINHTTP_PROXY_INFO."""

    _fields_ = (("access", wintypes.DWORD), ("proxy", c_void_p), ("bypass", c_void_p))


_DETECT, _SCRIPT, _BY_DHCP_AND_DNS = 1, 2, 3
_NO_PROXY, _NAMED_PROXY = 1, 3


def scripted_proxies(url: str) -> str | None:
    """Return the proxies for `url` as `host:port;host:port`, empty for none. It may take seconds.

    None: the user has switched neither detection nor a script on, or they fail.
    """
    if sys.platform != "win32":
        return None
    with _strings(_UserConfig()) as config:
        found = ctypes.WinDLL("winhttp").WinHttpGetIEProxyConfigForCurrentUser(ctypes.byref(config))
        script = ctypes.wstring_at(config.script) if config.script else None
        return ask(url, detects=bool(config.detects), script=script) if found else None


def ask(url: str, *, detects: bool, script: str | None) -> str | None:
    """Return as `scripted_proxies`, for these settings."""
    if sys.platform != "win32" or not (detects or script):
        return None
    winhttp = ctypes.WinDLL("winhttp")
    winhttp.WinHttpOpen.restype = c_void_p
    winhttp.WinHttpCloseHandle.argtypes = (c_void_p,)
    winhttp.WinHttpGetProxyForUrl.argtypes = (c_void_p, wintypes.LPCWSTR, c_void_p, c_void_p)
    flags = (_DETECT if detects else 0) | (_SCRIPT if script else 0)
    options = _Options(flags, _BY_DHCP_AND_DNS if detects else 0, script, None, 0, True)
    session = winhttp.WinHttpOpen(None, _NO_PROXY, None, None, 0)
    try:
        with _strings(_ProxyInfo()) as info:
            if not winhttp.WinHttpGetProxyForUrl(
                session, url, ctypes.byref(options), ctypes.byref(info)
            ):
                return None
            named = info.access == _NAMED_PROXY and info.proxy
            return ctypes.wstring_at(info.proxy) if named else ""
    finally:
        winhttp.WinHttpCloseHandle(session)


@contextmanager
def _strings(structure: Any) -> Iterator[Any]:
    """Yield the structure, and free the strings that Windows has put into it."""
    free = ctypes.WinDLL("kernel32").GlobalFree  # type: ignore[attr-defined,unused-ignore] # on Windows
    free.argtypes = (c_void_p,)
    try:
        yield structure
    finally:
        for name in ("script", "proxy", "bypass"):
            free(getattr(structure, name, None))
