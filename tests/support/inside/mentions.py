"""Print in JSON the lines of the registry that mention a word: `mentions.py WORD FILE`.

FILE is written and removed. The registry's own dump is much faster than a walk over all keys.
"""

import json
import pathlib
import sys

if sys.platform != "win32":
    raise SystemExit("runs on Windows")
import winreg

import win32api
import win32con
import win32security

token = win32security.OpenProcessToken(
    win32api.GetCurrentProcess(), win32con.TOKEN_ADJUST_PRIVILEGES | win32con.TOKEN_QUERY
)
privilege = win32security.LookupPrivilegeValue("", win32con.SE_BACKUP_NAME)
win32security.AdjustTokenPrivileges(token, False, [(privilege, win32con.SE_PRIVILEGE_ENABLED)])
word, file = sys.argv[1].lower(), pathlib.Path(sys.argv[2])
found: list[str] = []
for hive, name in ((winreg.HKEY_CURRENT_USER, ""), (winreg.HKEY_LOCAL_MACHINE, "Software")):
    with winreg.OpenKey(hive, name) as key:
        winreg.SaveKey(key, str(file))
    lines = file.read_text("utf-8", "replace").splitlines()
    found += [line for line in lines if word in line.lower()]
    file.unlink()
print(json.dumps(found))
