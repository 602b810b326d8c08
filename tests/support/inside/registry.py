"""Print in JSON the values of a registry key, as texts."""

import json
import sys

if sys.platform != "win32":
    raise SystemExit("runs on Windows")
import winreg

hive, _, name = sys.argv[1].partition("\\")
roots = {"HKCU": winreg.HKEY_CURRENT_USER, "HKLM": winreg.HKEY_LOCAL_MACHINE}
values = {}
try:
    with winreg.OpenKey(roots[hive], name) as key:
        for index in range(winreg.QueryInfoKey(key)[1]):
            value_name, value, _ = winreg.EnumValue(key, index)
            values[value_name] = str(value)
except FileNotFoundError:
    pass
print(json.dumps(values))
