"""Sign-ins and network changes on Linux: signals of logind, addresses told by the kernel.

What is not there is not watched: without a system bus there are no unlocks. Nothing is polled.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from jeepney import DBusAddress, MatchRule

from agent.core.events import NetworkChanged, SignedIn, SignInKind
from agent.linux.bus_client import FAILURES, BusClient
from agent.loop_thread import LoopThread

log = logging.getLogger(__name__)

CALL_TIMEOUT_S = 10.0
SETTLE_S = 1.0
"""Addresses come in bunches: they are told of once they have settled."""

_LOGIND = "org.freedesktop.login1"
_SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"
_NEW_ADDRESSES = 0x10 | 0x100  # RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
_NEW_ADDRESS, _LOST_ADDRESS = 20, 21  # RTM_NEWADDR, RTM_DELADDR
_HEADER = struct.Struct("IHHII")  # struct nlmsghdr
_ADDRESS = struct.Struct("BBBBI")  # struct ifaddrmsg
_IFA_ADDRESS = 1
_SCOPE_HOST = 254
_NO_AUDIT_SESSION = "4294967295"

Emit = Callable[[SignedIn | NetworkChanged], None]


class LogindWatcher:
    """ports.SignInWatcher."""

    def __init__(self) -> None:
        self._thread = LoopThread("coconowork-signin")
        self._emit: Emit | None = None
        self._bus: BusClient | None = None
        self._locked = False
        self._active = True
        self._session_path = ""

    def session(self) -> str:
        return session_name()

    def start(self, emit: Emit) -> None:
        self._emit = emit
        self._thread.submit(self._watch_logind())
        self._thread.submit(self._watch_addresses())

    def stop(self) -> None:
        self._emit = None
        self._thread.stop(self._close(), timeout_s=CALL_TIMEOUT_S)

    async def _close(self) -> None:
        if self._bus is not None:
            await self._bus.close()

    async def _watch_logind(self) -> None:
        address = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or _SYSTEM_BUS
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                bus = await BusClient.connect(address, _rules(), self._on_signal)
                self._bus = bus
                self._session_path = await _session_path(bus)
                properties = DBusAddress(
                    self._session_path, _LOGIND, "org.freedesktop.DBus.Properties"
                )
                interface = f"{_LOGIND}.Session"
                (values,) = await bus.call(properties, "GetAll", "s", interface)
        except FAILURES as exc:
            log.info("unlocks are not watched, logind does not answer: %s", type(exc).__name__)
            return
        self._locked = bool(values.get("LockedHint", ("b", False))[1])
        self._active = bool(values.get("Active", ("b", True))[1])

    def _on_signal(self, path: str, member: str, body: tuple[Any, ...]) -> None:
        if member == "PrepareForSleep":
            if body == (False,):
                self._tell(NetworkChanged())
        elif not self._session_path or path != self._session_path:
            return
        elif member == "Lock":
            self._locked = True
        elif member == "Unlock":
            self._set_locked(locked=False)
        elif member == "PropertiesChanged" and len(body) == 3:
            changed = body[1]
            if "LockedHint" in changed:
                self._set_locked(locked=bool(changed["LockedHint"][1]))
            if "Active" in changed:
                self._set_active(active=bool(changed["Active"][1]))

    def _set_locked(self, *, locked: bool) -> None:
        was, self._locked = self._locked, locked
        if was and not locked:
            self._tell(NetworkChanged())
            self._tell(SignedIn(self.session(), SignInKind.UNLOCK))

    def _set_active(self, *, active: bool) -> None:
        was, self._active = self._active, active
        if active and not was:
            self._tell(SignedIn(self.session(), SignInKind.CONNECT))

    async def _watch_addresses(self) -> None:
        loop = asyncio.get_running_loop()
        known: set[bytes] = set()
        try:
            with _address_news() as news:
                while True:
                    if not _learn(known, await _receive(loop, news)):
                        continue
                    with suppress(TimeoutError):
                        async with asyncio.timeout(SETTLE_S):
                            while True:
                                _learn(known, await _receive(loop, news))
                    self._tell(NetworkChanged())
        except OSError as exc:
            log.info("network changes are not watched: %s", exc.strerror)

    def _tell(self, event: SignedIn | NetworkChanged) -> None:
        emit = self._emit
        if emit is not None:
            log.debug("%s", type(event).__name__)
            emit(event)


def session_name() -> str:
    """This boot and this logon session; the same after a restart of the program."""
    boot = _read("/proc/sys/kernel/random/boot_id") or "unknown-boot"
    session = os.environ.get("XDG_SESSION_ID") or _audit_session() or _session_leader()
    return f"{boot}/{session}"[:256]


def _audit_session() -> str | None:
    number = _read("/proc/self/sessionid")
    return None if number in {"", _NO_AUDIT_SESSION} else f"audit-{number}"


def _session_leader() -> str:
    """Of the terminal's session, told from others of the same number by its start."""
    leader = os.getsid(0)
    stat = _read(f"/proc/{leader}/stat").rpartition(")")[2].split()
    return f"leader-{leader}-{stat[19] if len(stat) > 19 else '?'}"


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _rules() -> list[MatchRule]:
    return [
        MatchRule(
            type="signal",
            sender=_LOGIND,
            interface=f"{_LOGIND}.Manager",
            member="PrepareForSleep",
        ),
        MatchRule(type="signal", sender=_LOGIND, interface=f"{_LOGIND}.Session"),
        MatchRule(
            type="signal",
            sender=_LOGIND,
            interface="org.freedesktop.DBus.Properties",
            member="PropertiesChanged",
            path_namespace="/org/freedesktop/login1/session",
        ),
    ]


async def _session_path(bus: BusClient) -> str:
    """Our session; for a program of the user's service manager, the one with the display."""
    manager = DBusAddress("/org/freedesktop/login1", _LOGIND, f"{_LOGIND}.Manager")
    if name := os.environ.get("XDG_SESSION_ID"):
        (path,) = await bus.call(manager, "GetSession", "s", name)
        return str(path)
    (user,) = await bus.call(manager, "GetUser", "u", os.getuid())
    properties = DBusAddress(user, _LOGIND, "org.freedesktop.DBus.Properties")
    ((_, display),) = await bus.call(properties, "Get", "ss", f"{_LOGIND}.User", "Display")
    return str(display[1])


def _address_news() -> socket.socket:
    """Where the kernel tells of new and lost addresses (rtnetlink(7)). Raise OSError."""
    if sys.platform != "linux":
        raise OSError(0, "this is not Linux")
    news = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    try:
        news.setblocking(False)
        news.bind((0, _NEW_ADDRESSES))
    except BaseException:
        news.close()
        raise
    return news


async def _receive(loop: asyncio.AbstractEventLoop, news: socket.socket) -> bytes:
    try:
        return await loop.sock_recv(news, 65_536)
    except OSError as exc:
        if exc.errno != errno.ENOBUFS:  # the kernel dropped some: news all the same
            raise
        return b""


def _learn(known: set[bytes], data: bytes) -> bool:
    """Take messages into `known`; whether they were news.

    Routers' advertisements have the kernel tell of known addresses every few minutes.
    """
    if not data:
        return True
    is_news = False
    while len(data) >= _HEADER.size:
        length, kind, *_ = _HEADER.unpack_from(data)
        if length < _HEADER.size:
            break
        message, data = data[_HEADER.size : length], data[(length + 3) & ~3 :]
        if kind not in {_NEW_ADDRESS, _LOST_ADDRESS} or len(message) < _ADDRESS.size:
            continue
        *_, scope, index = _ADDRESS.unpack_from(message)
        if scope == _SCOPE_HOST:
            continue
        address = struct.pack("I", index) + _attribute(message[_ADDRESS.size :], _IFA_ADDRESS)
        if kind == _LOST_ADDRESS:
            known.discard(address)
            is_news = True
        elif address not in known:
            known.add(address)
            is_news = True
    return is_news


def _attribute(data: bytes, wanted: int) -> bytes:
    while len(data) >= 4:
        length, kind = struct.unpack_from("HH", data)
        if length < 4:
            break
        if kind == wanted:
            return data[4:length]
        data = data[(length + 3) & ~3 :]
    return b""
