"""Print in JSON what the Credential Manager holds, read with the Windows API alone."""

import ctypes
import json
import sys
from ctypes import wintypes

if sys.platform != "win32":
    raise SystemExit("runs on Windows")


class Credential(ctypes.Structure):
    """CREDENTIALW."""

    _fields_ = [
        ("flags", wintypes.DWORD),
        ("type", wintypes.DWORD),
        ("target", wintypes.LPWSTR),
        ("comment", wintypes.LPWSTR),
        ("last_written", wintypes.FILETIME),
        ("blob_size", wintypes.DWORD),
        ("blob", ctypes.POINTER(ctypes.c_ubyte)),
        ("persist", wintypes.DWORD),
        ("attribute_count", wintypes.DWORD),
        ("attributes", ctypes.c_void_p),
        ("alias", wintypes.LPWSTR),
        ("user", wintypes.LPWSTR),
    ]


advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)
count = wintypes.DWORD()
array = ctypes.POINTER(ctypes.POINTER(Credential))()
found = []
if advapi32.CredEnumerateW(None, 0, ctypes.byref(count), ctypes.byref(array)):
    for index in range(count.value):
        entry = array[index].contents
        blob = bytes(entry.blob[: entry.blob_size])
        found.append(
            {
                "target": entry.target,
                "user": entry.user,
                "persist": entry.persist,
                "text": blob.decode("utf-16-le", "replace"),
            }
        )
print(json.dumps(found))
