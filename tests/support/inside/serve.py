"""Keep the desktop alive and answer a test's questions about this PC, in one process.

Wine closes the task bar with the last program that has windows, so this program opens one. The
first answer says that the task bar is there. `serve.py CLASS MESSAGE WPARAM LPARAM …` only posts
messages.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

if sys.platform != "win32":
    raise SystemExit("runs on Windows")

import winreg

import pywintypes
import win32api
import win32con
import win32cred
import win32crypt
import win32cryptcon as crypt
import win32gui
import win32security

sys.path.insert(0, str(Path(__file__).parents[3]))
from tests.support.inside import windows


def answer(functions: Mapping[str, Callable[..., Any]]) -> None:
    """Answer requests to the end of the input: JSON lists of a function's name and arguments.

    Print for each the function's result, or the traceback of its exception.
    """
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            found = functions[name](*arguments), ""
        except Exception:  # noqa: BLE001 - the test shows it
            found = None, traceback.format_exc()
        print(json.dumps(found), flush=True)


def start(*command: str) -> int:
    """Run a program to its end. Return all 32 bits of its exit status: Linux has only eight."""
    nothing = subprocess.DEVNULL
    return subprocess.run(
        command, stdin=nothing, stdout=nothing, stderr=nothing, timeout=120, check=False
    ).returncode


def arguments(lines: str, written: str, program: str) -> list[tuple[int, str | None]]:
    """Run a program with each list of words in the file `lines`, a JSON list of lists.

    Return each exit code, and the content of the file `written`, if the program made it.
    """
    file, answers = Path(written), []
    for words in json.loads(Path(lines).read_text("utf-8")):
        file.unlink(missing_ok=True)
        code = start(program, *words)
        answers.append((code, file.read_text("utf-16-le") if file.exists() else None))
    return answers


def credentials() -> list[dict[str, Any]]:
    """Return the entries of the Credential Manager."""
    try:
        entries = win32cred.CredEnumerate()
    except pywintypes.error:  # there is none
        return []
    return [
        {
            "target": entry["TargetName"],
            "persist": entry["Persist"],
            "text": entry["CredentialBlob"].decode("utf-16-le", "replace"),
        }
        for entry in entries
    ]


def mentions(word: str, file: str) -> list[str]:
    """Return the lines of the registry that mention a word. `file` is written and removed.

    The registry's own dump is much faster than a walk over all keys.
    """
    rights = win32con.TOKEN_ADJUST_PRIVILEGES | win32con.TOKEN_QUERY
    token = win32security.OpenProcessToken(win32api.GetCurrentProcess(), rights)
    privilege = win32security.LookupPrivilegeValue("", win32con.SE_BACKUP_NAME)
    win32security.AdjustTokenPrivileges(token, False, [(privilege, win32con.SE_PRIVILEGE_ENABLED)])
    found: list[str] = []
    for hive, name in ((winreg.HKEY_CURRENT_USER, ""), (winreg.HKEY_LOCAL_MACHINE, "Software")):
        with winreg.OpenKey(hive, name) as key:
            winreg.SaveKey(key, file)
        lines = Path(file).read_text("utf-8", "replace").splitlines()
        found += [line for line in lines if word in line.lower()]
        Path(file).unlink()
    return found


def registry(path: str) -> dict[str, str]:
    """Return the values of a registry key, as texts; none when there is no such key."""
    hive, _, name = path.partition("\\")
    root = {"HKCU": winreg.HKEY_CURRENT_USER, "HKLM": winreg.HKEY_LOCAL_MACHINE}[hive]
    try:
        with winreg.OpenKey(root, name) as key:
            values = [winreg.EnumValue(key, index) for index in range(winreg.QueryInfoKey(key)[1])]
    except FileNotFoundError:
        return {}
    return {name: str(value) for name, value, _ in values}


def resources(program: str) -> dict[str, Any]:
    """Return the version resource, subsystem, manifest and number of icons of an .exe."""
    pefile = importlib.import_module("pefile")  # only the Windows Python has it
    exe = pefile.PE(program)
    tables = (table for group in exe.FileInfo[0] for table in getattr(group, "StringTable", []))
    kinds = {entry.id: entry for entry in exe.DIRECTORY_ENTRY_RESOURCE.entries}
    manifest_at = kinds[24].directory.entries[0].directory.entries[0].data.struct
    return {
        "subsystem": exe.OPTIONAL_HEADER.Subsystem,
        "texts": {
            table.LangID.decode(): {k.decode(): v.decode() for k, v in table.entries.items()}
            for table in tables
        },
        "manifest": exe.get_data(manifest_at.OffsetToData, manifest_at.Size).decode(),
        "icons": len(kinds[3].directory.entries),
    }


def trust(certificate: str) -> None:
    """Trust a root certificate (DER file) on this PC, as an organisation's policy does."""
    user = crypt.CERT_SYSTEM_STORE_CURRENT_USER
    store = win32crypt.CertOpenStore(crypt.CERT_STORE_PROV_SYSTEM, 0, None, user, "Root")
    kind, instead = crypt.X509_ASN_ENCODING, crypt.CERT_STORE_ADD_REPLACE_EXISTING
    store.CertAddEncodedCertificateToStore(kind, Path(certificate).read_bytes(), instead)
    store.CertCloseStore()


def post(*messages: str) -> int:
    """Post messages as Windows does: `CLASS MESSAGE WPARAM LPARAM …`, one after the other.

    Each waits for a window of its class, at most one minute. Return the number of messages
    posted.
    """
    for posted in range(0, len(messages), 4):
        found, end = 0, time.monotonic() + 60
        while not found and time.monotonic() < end:
            time.sleep(0.02)
            with suppress(win32gui.error):
                found = int(win32gui.FindWindow(messages[posted], None))
        if not found:
            return posted // 4
        win32gui.PostMessage(found, *map(int, messages[posted + 1 : posted + 4]))
    return len(messages) // 4


ASKED = {
    each.__name__: each
    for each in (
        *(start, arguments, credentials, mentions, registry, resources, trust, post),
        *(windows.windows, windows.foreground),
    )
}

if __name__ == "__main__":
    if sys.argv[1:]:
        post(*sys.argv[1:])
    else:
        windows.user32.GetDesktopWindow()
        while not windows.user32.FindWindowW("Shell_TrayWnd", None):
            time.sleep(0.05)
        print(json.dumps([True, ""]), flush=True)
        answer(ASKED)
