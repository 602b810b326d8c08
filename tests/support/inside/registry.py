"""Print in JSON the values of a registry key, as texts."""

import json
import sys

if sys.platform != "win32":
    raise SystemExit("runs on Windows")
import winreg

hive, _, name = sys.argv[1].partition("\\")
root = {"HKCU": winreg.HKEY_CURRENT_USER, "HKLM": winreg.HKEY_LOCAL_MACHINE}[hive]
try:
    with winreg.OpenKey(root, name) as key:
        values = [winreg.EnumValue(key, index) for index in range(winreg.QueryInfoKey(key)[1])]
except FileNotFoundError:
    values = []
print(json.dumps({name: str(value) for name, value, _ in values}))
