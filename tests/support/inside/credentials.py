"""Print in JSON what the Credential Manager holds."""

import json
import sys

if sys.platform != "win32":
    raise SystemExit("runs on Windows")
import pywintypes
import win32cred

try:
    entries = win32cred.CredEnumerate()
except pywintypes.error:  # there is none
    entries = ()
found = [
    {
        "target": entry["TargetName"],
        "persist": entry["Persist"],
        "text": entry["CredentialBlob"].decode("utf-16-le", "replace"),
    }
    for entry in entries
]
print(json.dumps(found))
