"""Report when the user comes or leaves, the PC resumes, the network changes or an update begins.

A hidden top-level window receives session and power messages on a thread of its own. That thread
also keeps the PC from going to sleep: such a request ends with the thread that has made it. A
second thread waits for changes of the network's addresses, a third for an installer that begins an
update. Nothing polls.
"""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("for Windows")

import ctypes
import logging
import os
import secrets
import threading
import winreg
from collections.abc import Callable
from contextlib import suppress
from ctypes import wintypes
from functools import cache
from typing import Any

import pywintypes
import win32api
import win32security
from pystray._util import win32

from agent.core import events as ev
from agent.program import guard_file, is_updated
from protocol.messages import Farewell

log = logging.getLogger(__name__)

# Not win32gui and win32ts, which load Windows' printing and dialogs into the process.
user32 = ctypes.WinDLL("user32", use_last_error=True)
user32.DefWindowProcW.argtypes = (
    wintypes.HWND, wintypes.UINT, wintypes.WPARAM, wintypes.LPARAM,
)  # fmt: skip
user32.DefWindowProcW.restype = wintypes.LPARAM
user32.SetTimer.argtypes = (wintypes.HWND, ctypes.c_size_t, wintypes.UINT, ctypes.c_void_p)
user32.KillTimer.argtypes = (wintypes.HWND, ctypes.c_size_t)
user32.RegisterSuspendResumeNotification.argtypes = (wintypes.HWND, wintypes.DWORD)
user32.RegisterSuspendResumeNotification.restype = ctypes.c_void_p
user32.UnregisterSuspendResumeNotification.argtypes = (ctypes.c_void_p,)
kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
kernel32.SetThreadExecutionState.argtypes = (wintypes.DWORD,)
kernel32.SetThreadExecutionState.restype = wintypes.DWORD
kernel32.WaitForSingleObject.argtypes = (wintypes.HANDLE, wintypes.DWORD)
iphlpapi = ctypes.WinDLL("iphlpapi")
_ON_CHANGE = ctypes.WINFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)
iphlpapi.NotifyUnicastIpAddressChange.argtypes = (
    wintypes.USHORT, _ON_CHANGE, ctypes.c_void_p, wintypes.BOOLEAN, ctypes.c_void_p,
)  # fmt: skip
iphlpapi.CancelMibChangeNotify2.argtypes = (wintypes.HANDLE,)

Emit = Callable[[ev.Event], None]

WM_CLOSE = 0x0010
WM_QUERYENDSESSION = 0x0011
WM_ENDSESSION = 0x0016
WM_TIMER = 0x0113
WM_WTSSESSION_CHANGE = 0x02B1
WM_POWERBROADCAST = 0x0218
WTS_KINDS = {
    0x1: ev.SignInKind.CONNECT,  # to the console
    0x3: ev.SignInKind.CONNECT,  # by remote desktop
    0x5: ev.SignInKind.SIGN_IN,
    0x8: ev.SignInKind.UNLOCK,
}
WTS_LEFT = {0x2, 0x4, 0x7}  # console disconnect, remote disconnect, lock
RESUMED = {0x7, 0x12}  # PBT_APMRESUMESUSPEND, PBT_APMRESUMEAUTOMATIC
SUSPENDS = 0x4  # PBT_APMSUSPEND: sleep or hibernation, which Windows does not tell apart
POWER_CHANGED = 0xA  # PBT_APMPOWERSTATUSCHANGE: from battery to mains power, or back
WM_KEEP_AWAKE = 0x8000  # WM_APP, our own: decide again whether to keep the PC awake
ES_CONTINUOUS, ES_SYSTEM_REQUIRED = 0x80000000, 0x1
ON_BATTERY = 0
TO_WINDOW = 0  # DEVICE_NOTIFY_WINDOW_HANDLE
IPV4_AND_IPV6 = 0  # AF_UNSPEC
FILE_NOTIFY_CHANGE_FILE_NAME, INFINITE = 0x1, 0xFFFFFFFF
ENDSESSION_CLOSEAPP, ENDSESSION_LOGOFF = 0x1, 0x80000000
RETRY_TIMER, RETRY_MS = 1, 5000
SETTLE_S = 1.0  # a network comes up in several steps, which are reported once
STOP_S = 5.0
START_S = 10.0
CLASS_NAME = "CoconoworkClientSignIn"
NOTIFY_FOR_THIS_SESSION = 0
_WNDPROC = ctypes.WINFUNCTYPE(
    wintypes.LPARAM, wintypes.HWND, wintypes.UINT, wintypes.WPARAM, wintypes.LPARAM
)
SESSION_KEY = r"Software\Coconowork\Client\Session"


class WindowsSignInWatcher:
    """Implement `agent.ports.SignInWatcher`."""

    def __init__(self) -> None:
        self._emit: Emit = lambda _: None
        self._hwnd = 0
        self._ready = threading.Event()
        self._stopped = threading.Event()
        self._addresses_changed = threading.Event()
        self._keep_awake = self._is_awake = False
        self._threads: list[threading.Thread] = []

    def session(self) -> str:
        return logon_session()

    def start(self, emit: Emit) -> None:
        """Start to watch. What Windows refuses is logged, and the client goes on without it."""
        self._emit = emit
        logon_session()  # cached here, before a message needs it
        self._threads = [
            threading.Thread(target=self._watch_session, name="sign-in", daemon=True),
            threading.Thread(target=self._watch_network, name="network", daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        if guard_file().exists():
            threading.Thread(target=self._watch_program, name="updates", daemon=True).start()
        if not self._ready.wait(START_S):
            log.error("the window for session messages is late")

    def keep_awake(self, wanted: bool, /) -> None:  # noqa: FBT001 - the port's
        self._keep_awake = wanted
        if self._hwnd:
            win32.PostMessage(self._hwnd, WM_KEEP_AWAKE, 0, 0)

    def stop(self) -> None:
        self._emit = lambda _: None
        self._stopped.set()
        self._addresses_changed.set()
        if self._hwnd:
            win32.PostMessage(self._hwnd, WM_CLOSE, 0, 0)
        for thread in self._threads:
            thread.join(STOP_S)

    # --- the session

    def _watch_session(self) -> None:
        wtsapi32 = ctypes.WinDLL("wtsapi32", use_last_error=True)
        wtsapi32.WTSRegisterSessionNotification.argtypes = (wintypes.HWND, wintypes.DWORD)
        wtsapi32.WTSUnRegisterSessionNotification.argtypes = (wintypes.HWND,)
        power = None

        def register(hwnd: int) -> None:
            """Register for session messages; try again until Windows' service for them runs."""
            if not wtsapi32.WTSRegisterSessionNotification(hwnd, NOTIFY_FOR_THIS_SESSION):
                log.debug("no session messages yet (error %d)", ctypes.get_last_error())
                user32.SetTimer(hwnd, RETRY_TIMER, RETRY_MS, None)

        def on_message(hwnd: int, message: int, wparam: int, lparam: int) -> int:
            if message == WM_POWERBROADCAST:
                return self._on_power(wparam)
            if message in {WM_QUERYENDSESSION, WM_ENDSESSION}:
                return self._on_end_session(message, wparam, lparam)
            if message == WM_WTSSESSION_CHANGE:
                self._on_session_change(wparam)
            elif message == WM_KEEP_AWAKE:
                self._hold_awake()
            elif message == WM_TIMER:
                user32.KillTimer(hwnd, RETRY_TIMER)
                register(hwnd)
            elif message == WM_CLOSE:
                wtsapi32.WTSUnRegisterSessionNotification(hwnd)
                if power:
                    user32.UnregisterSuspendResumeNotification(power)
                win32.DestroyWindow(hwnd)
                win32.PostQuitMessage(0)
            else:
                return int(user32.DefWindowProcW(hwnd, message, wparam, lparam))
            return 0

        procedure = _WNDPROC(on_message)  # must live as long as the window
        instance = win32.GetModuleHandle(None)
        window_class = win32.WNDCLASSEX(
            cbSize=ctypes.sizeof(win32.WNDCLASSEX),
            lpfnWndProc=ctypes.cast(procedure, win32.WNDPROC),
            hInstance=instance,
            lpszClassName=CLASS_NAME,
        )
        try:
            atom = win32.RegisterClassEx(window_class)
            # Top-level: broadcasts do not reach message-only windows.
            self._hwnd = win32.CreateWindowEx(
                0, atom, CLASS_NAME, win32.WS_POPUP, 0, 0, 0, 0, 0, None, instance, None
            )
            register(self._hwnd)
            # Modern Standby is reported to registered windows only.
            power = user32.RegisterSuspendResumeNotification(self._hwnd, TO_WINDOW)
            if not power:
                log.warning("sleep may go unnoticed (error %d)", ctypes.get_last_error())
            self._hold_awake()
        except OSError:
            log.exception("no window for session messages")
            return
        finally:
            self._ready.set()
        message = wintypes.MSG()
        while win32.GetMessage(ctypes.byref(message), None, 0, 0) > 0:
            win32.DispatchMessage(ctypes.byref(message))
        self._hwnd = 0
        with suppress(OSError):
            win32.UnregisterClass(atom, instance)

    def _on_session_change(self, what: int) -> None:
        if kind := WTS_KINDS.get(what):
            self._emit(ev.SignedIn(self.session(), kind))
            self._emit(ev.NetworkChanged())
        elif what in WTS_LEFT:
            self._emit(ev.UserLeft())

    def _on_power(self, what: int) -> int:
        if what == SUSPENDS:
            self._emit(ev.Suspending())
        elif what in RESUMED:
            self._emit(ev.NetworkChanged())
        elif what == POWER_CHANGED:
            self._hold_awake()
        return 1

    def _hold_awake(self) -> None:
        """Keep the PC awake if wanted and not on battery. Runs on the window's thread."""
        status = (ctypes.c_ubyte * 12)()  # SYSTEM_POWER_STATUS, which begins with ACLineStatus
        kernel32.GetSystemPowerStatus(status)
        awake = self._keep_awake and status[0] != ON_BATTERY
        if awake is not self._is_awake:
            self._is_awake = awake
            wish = ES_CONTINUOUS | (ES_SYSTEM_REQUIRED if awake else 0)
            if kernel32.SetThreadExecutionState(wish):
                log.info("the PC is kept awake" if awake else "the PC may go to sleep")
            else:
                log.warning("Windows does not keep the PC awake")

    def _on_end_session(self, message: int, wparam: int, lparam: int) -> int:
        """Report why the session is about to end; then quit, or report that it goes on."""
        if message == WM_QUERYENDSESSION:
            farewell: Farewell = "shutdown"  # or a restart, which Windows does not tell apart
            if lparam & ENDSESSION_LOGOFF:
                farewell = "sign_out"
            elif lparam & ENDSESSION_CLOSEAPP:
                farewell = "update"
            self._emit(ev.SessionEnding(farewell))
            return 1
        self._emit(ev.QuitRequested() if wparam else ev.SessionEnding(None))
        return 0

    # --- the network

    def _watch_network(self) -> None:
        """Report changes of IPv4 and IPv6 addresses. Windows calls back on its own thread."""
        on_change = _ON_CHANGE(lambda *_: self._addresses_changed.set())
        handle = wintypes.HANDLE()
        error = iphlpapi.NotifyUnicastIpAddressChange(
            IPV4_AND_IPV6, on_change, None, False, ctypes.byref(handle)
        )
        if error:
            log.warning("network changes are not reported (error %d)", error)
            return
        while self._addresses_changed.wait() and not self._stopped.wait(SETTLE_S):
            self._addresses_changed.clear()
            self._emit(ev.NetworkChanged())
        iphlpapi.CancelMibChangeNotify2(handle)

    # --- updates

    def _watch_program(self) -> None:
        """Quit when an installer has moved the guard's file. This thread ends with the process."""
        folder = str(guard_file().parent)
        try:
            changes = win32api.FindFirstChangeNotification(
                folder, False, FILE_NOTIFY_CHANGE_FILE_NAME
            )
        except pywintypes.error as exc:
            log.warning("updates of the program are not noticed: %s", exc.strerror)
            return
        while not is_updated():
            kernel32.WaitForSingleObject(int(changes), INFINITE)
            win32api.FindNextChangeNotification(changes)
        self._emit(ev.QuitRequested("update"))


@cache
def logon_session() -> str:
    """Return a name for the logon session of this process.

    The name is the session's id and start time from the local security authority. Without them, it
    is a random name in a registry key that lives as long as the session.
    """
    with suppress(pywintypes.error, KeyError, AttributeError, OSError, OverflowError, ValueError):
        this_process = win32api.GetCurrentProcess()
        token = win32security.OpenProcessToken(this_process, win32security.TOKEN_QUERY)
        statistics: Any = win32security.GetTokenInformation(token, win32security.TokenStatistics)
        luid = statistics["AuthenticationId"]
        data: Any = win32security.LsaGetLogonSessionData(luid)
        began = data["LogonTime"].timestamp()
        if began > 0:
            return f"{luid:x}-{began:.0f}"
    return _volatile_name()


def _volatile_name() -> str:
    """Return the name in a registry key that Windows deletes when the user signs out.

    Each session has its own key, because the sessions of a user share one registry.
    """
    number = wintypes.DWORD()
    kernel32.ProcessIdToSessionId(os.getpid(), ctypes.byref(number))
    path = rf"{SESSION_KEY}\{number.value}"
    user: Any = winreg.HKEY_CURRENT_USER
    access, volatile = winreg.KEY_READ | winreg.KEY_WRITE, winreg.REG_OPTION_VOLATILE
    name = secrets.token_hex(16)
    try:
        key: Any = win32api.RegCreateKeyEx(user, path, access, Options=volatile)[0]
        with suppress(pywintypes.error):
            return str(win32api.RegQueryValueEx(key, "Name")[0])
        win32api.RegSetValueEx(key, "Name", 0, winreg.REG_SZ, name)
    except pywintypes.error as exc:
        log.warning("the sign-in session cannot be named: %s", exc.strerror)
    return name
