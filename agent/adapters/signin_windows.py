"""Sign-in, unlock, remote connect, resume and network changes on Windows.

A hidden top-level window hears session and power messages on a thread of its own; another thread
waits for changes of the network's addresses. Nothing polls.
"""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("for Windows")

import ctypes
import logging
import secrets
import threading
import winreg
from collections.abc import Callable
from contextlib import suppress
from ctypes import wintypes

import pywintypes
import win32api
import win32con
import win32event
import win32gui
import win32process
import win32security
import win32ts

from agent.core.events import NetworkChanged, SignedIn, SignInKind

log = logging.getLogger(__name__)

Emit = Callable[[SignedIn | NetworkChanged], None]

WM_WTSSESSION_CHANGE = 0x02B1
WM_POWERBROADCAST = 0x0218
WTS_KINDS = {
    0x1: SignInKind.CONNECT,
    0x3: SignInKind.CONNECT,
    0x5: SignInKind.SIGN_IN,
    0x8: SignInKind.UNLOCK,
}
"""Console connect, remote connect, logon, unlock."""
RESUMED = {0x7, 0x12}
"""PBT_APMRESUMESUSPEND, PBT_APMRESUMEAUTOMATIC."""
RETRY_TIMER, RETRY_MS = 1, 5000
SETTLE_MS = 1000
"""A network comes up in several steps."""
STOP_S = 5.0
START_S = 10.0
CLASS_NAME = "CoconoworkClientSignIn"
SESSION_KEY = r"Software\Coconowork\Client\Session"


class WindowsSignInWatcher:
    """`agent.ports.SignInWatcher`."""

    def __init__(self) -> None:
        self._emit: Emit = lambda _: None
        self._session = ""
        self._hwnd = 0
        self._ready = threading.Event()
        self._stop = win32event.CreateEvent(None, True, False, None)
        self._threads: list[threading.Thread] = []

    def session(self) -> str:
        if not self._session:
            self._session = logon_session()
        return self._session

    def start(self, emit: Emit) -> None:
        """A Windows that does not let us hear is logged: the client waits all the same."""
        self._emit = emit
        self.session()
        self._threads = [
            threading.Thread(target=self._watch_session, name="sign-in", daemon=True),
            threading.Thread(target=self._watch_network, name="network", daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        if not self._ready.wait(START_S):
            log.error("the window for session messages is late")

    def stop(self) -> None:
        self._emit = lambda _: None
        win32event.SetEvent(self._stop)
        if self._hwnd:
            with suppress(win32gui.error):
                win32gui.PostMessage(self._hwnd, win32con.WM_CLOSE, 0, 0)
        for thread in self._threads:
            thread.join(STOP_S)

    # --- the session

    def _watch_session(self) -> None:
        handlers = {
            WM_WTSSESSION_CHANGE: self._on_session_change,
            WM_POWERBROADCAST: self._on_power,
            win32con.WM_TIMER: self._on_timer,
            win32con.WM_CLOSE: self._on_close,
        }
        instance = win32api.GetModuleHandle(None)
        window_class = win32gui.WNDCLASS()
        window_class.hInstance = instance
        window_class.lpszClassName = CLASS_NAME
        window_class.lpfnWndProc = handlers
        try:
            atom = win32gui.RegisterClass(window_class)
            # Top-level: broadcasts do not reach message-only windows.
            self._hwnd = win32gui.CreateWindow(
                atom, CLASS_NAME, win32con.WS_POPUP, 0, 0, 0, 0, 0, 0, instance, None
            )
            self._register()
        except win32gui.error:
            log.exception("no window for session messages")
            return
        finally:
            self._ready.set()
        win32gui.PumpMessages()
        self._hwnd = 0
        with suppress(win32gui.error):
            win32gui.UnregisterClass(atom, instance)

    def _register(self) -> None:
        """At sign-in the service that tells may not be up yet: try again until it is."""
        try:
            win32ts.WTSRegisterSessionNotification(self._hwnd, win32ts.NOTIFY_FOR_THIS_SESSION)
        except pywintypes.error as error:
            log.debug("no session messages yet: %s", error)
            ctypes.windll.user32.SetTimer(self._hwnd, RETRY_TIMER, RETRY_MS, None)

    def _on_timer(self, hwnd: int, _message: int, _wparam: int, _lparam: int) -> int:
        ctypes.windll.user32.KillTimer(hwnd, RETRY_TIMER)
        self._register()
        return 0

    def _on_session_change(self, _hwnd: int, _message: int, wparam: int, _lparam: int) -> int:
        kind = WTS_KINDS.get(wparam)
        if kind is not None:
            self._emit(SignedIn(self.session(), kind))
            self._emit(NetworkChanged())
        return 0

    def _on_power(self, _hwnd: int, _message: int, wparam: int, _lparam: int) -> int:
        if wparam in RESUMED:
            self._emit(NetworkChanged())
        return 1

    def _on_close(self, hwnd: int, _message: int, _wparam: int, _lparam: int) -> int:
        with suppress(pywintypes.error, SystemError):
            win32ts.WTSUnRegisterSessionNotification(hwnd)
        win32gui.DestroyWindow(hwnd)
        win32gui.PostQuitMessage(0)
        return 0

    # --- the network

    def _watch_network(self) -> None:
        iphlpapi = ctypes.WinDLL("iphlpapi")
        changed = win32event.CreateEvent(None, False, False, None)
        while True:
            overlapped = _Overlapped(hEvent=int(changed))
            handle = wintypes.HANDLE()
            error = iphlpapi.NotifyAddrChange(ctypes.byref(handle), ctypes.byref(overlapped))
            if error not in {0, _ERROR_IO_PENDING}:
                log.warning("network changes are not told (error %d)", error)
                return
            what = win32event.WaitForMultipleObjects(
                [self._stop, changed], False, win32event.INFINITE
            )
            if what == win32event.WAIT_OBJECT_0:
                iphlpapi.CancelIPChangeNotify(ctypes.byref(overlapped))
                return
            if win32event.WaitForSingleObject(self._stop, SETTLE_MS) == win32event.WAIT_OBJECT_0:
                return
            self._emit(NetworkChanged())


_ERROR_IO_PENDING = 997


class _Overlapped(ctypes.Structure):
    _fields_ = (
        ("Internal", ctypes.c_void_p),
        ("InternalHigh", ctypes.c_void_p),
        ("Offset", wintypes.DWORD),
        ("OffsetHigh", wintypes.DWORD),
        ("hEvent", wintypes.HANDLE),
    )


def logon_session() -> str:
    """A name for the logon session of this process.

    The session's id and the time of its beginning, as the local security authority has them;
    where it does not say, a name kept in a registry key that lives as long as the session.
    """
    with suppress(pywintypes.error, KeyError, AttributeError, OSError, OverflowError, ValueError):
        token = win32security.OpenProcessToken(
            win32process.GetCurrentProcess(), win32con.TOKEN_QUERY
        )
        statistics = win32security.GetTokenInformation(token, win32security.TokenStatistics)
        luid = statistics["AuthenticationId"]
        data = win32security.LsaGetLogonSessionData(luid)
        began = data["LogonTime"].timestamp()
        if began > 0:
            return f"{luid:x}-{began:.0f}"
    return _volatile_name()


def _volatile_name() -> str:
    """Windows forgets the key when the user signs out; several sessions share a user's registry."""
    session = win32ts.ProcessIdToSessionId(win32api.GetCurrentProcessId())
    advapi32 = ctypes.WinDLL("advapi32")
    key = wintypes.HANDLE()
    hkcu = ctypes.c_void_p(winreg.HKEY_CURRENT_USER)
    volatile, access = 1, winreg.KEY_READ | winreg.KEY_WRITE
    path = rf"{SESSION_KEY}\{session}"
    error = advapi32.RegCreateKeyExW(
        hkcu, path, 0, None, volatile, access, None, ctypes.byref(key), None
    )
    if error:
        log.warning("the sign-in session cannot be named (error %d)", error)
        return secrets.token_hex(16)
    advapi32.RegCloseKey(key)
    with winreg.OpenKey(winreg.HKEY_CURRENT_USER, path, 0, access) as opened:
        with suppress(OSError):
            return str(winreg.QueryValueEx(opened, "Name")[0])
        name = secrets.token_hex(16)
        winreg.SetValueEx(opened, "Name", 0, winreg.REG_SZ, name)
    return name
