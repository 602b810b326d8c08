"""Say in JSON the ids of the processes of a program, given its file name."""

import ctypes
import json
import sys
from ctypes import wintypes

if sys.platform != "win32":
    raise SystemExit("runs on Windows")


class Entry(ctypes.Structure):
    """PROCESSENTRY32W."""

    _fields_ = [
        ("size", wintypes.DWORD),
        ("usage", wintypes.DWORD),
        ("pid", wintypes.DWORD),
        ("heap", ctypes.c_size_t),
        ("module", wintypes.DWORD),
        ("threads", wintypes.DWORD),
        ("parent", wintypes.DWORD),
        ("priority", wintypes.LONG),
        ("flags", wintypes.DWORD),
        ("exe", wintypes.WCHAR * 260),
    ]


kernel32 = ctypes.WinDLL("kernel32")
kernel32.CreateToolhelp32Snapshot.restype = wintypes.HANDLE
kernel32.Process32FirstW.argtypes = [wintypes.HANDLE, ctypes.POINTER(Entry)]
kernel32.Process32NextW.argtypes = [wintypes.HANDLE, ctypes.POINTER(Entry)]
snapshot = kernel32.CreateToolhelp32Snapshot(2, 0)
entry = Entry(size=ctypes.sizeof(Entry))
found = []
more = kernel32.Process32FirstW(snapshot, ctypes.byref(entry))
while more:
    if entry.exe.lower() == sys.argv[1].lower():
        found.append(entry.pid)
    more = kernel32.Process32NextW(snapshot, ctypes.byref(entry))
print(json.dumps(found))
