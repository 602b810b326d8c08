"""What tests of the setup program look at on a PC: processes, registry, files that are left."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import psutil

from installer import NAME
from installer.wine import windows_path
from tests.support.polling import eventually
from tests.support.wine import Desktop

USER = r"C:\users\root\AppData\Local\Programs\Coconowork Client"
EVERYBODY = r"C:\Program Files\Coconowork Client"
EXE = f"{NAME}.exe"
SETTINGS = r"Software\Coconowork\Client"
RUN = r"Software\Microsoft\Windows\CurrentVersion\Run"
UNINSTALL = r"Software\Microsoft\Windows\CurrentVersion\Uninstall\Coconowork Client"


def unix_path(pc: Desktop, path: str) -> Path:
    """Return where a path on drive C is on this machine."""
    return pc.drive_c.joinpath(*path.split("\\")[1:])


def programs_folder(pc: Desktop) -> str:
    """Return the folder of a user's own copy. Wine's user has the name of the Unix user."""
    user = next(p.name for p in (pc.drive_c / "users").iterdir() if p.name != "Public")
    return rf"C:\users\{user}\AppData\Local\Programs\Coconowork Client"


def exit_code(pc: Desktop, *command: str, timeout_s: float = 120) -> int:
    """Run a program. Return all 32 bits of its exit status."""
    answer = pc.prefix / "exit-code"
    answer.unlink(missing_ok=True)
    pc.quiet_python("start", windows_path(answer), *command, timeout_s=timeout_s)
    assert answer.exists(), f"{command[0]} did not end within {timeout_s:g} s"
    return int(answer.read_text(encoding="ascii"))


def install(pc: Desktop, setup: Path, *options: str) -> int:
    """Run a setup program silently. Return its exit status."""
    return exit_code(pc, windows_path(setup), "/S", *options)


def uninstall(pc: Desktop, folder: str, *options: str) -> None:
    """Run the uninstaller silently, and wait for the copy of it that does the work.

    The copy has the argument `_?=`. It removes uninstall.exe first, and then the registry keys.
    """
    exit_code(pc, rf"{folder}\uninstall.exe", "/S", *options)
    wait_for_uninstaller(pc, folder)


def wait_for_uninstaller(pc: Desktop, folder: str) -> None:
    """Wait until an uninstaller that was started has removed its file, and has ended."""
    file = unix_path(pc, rf"{folder}\uninstall.exe")
    eventually(
        lambda: not file.exists() and not any("_?=" in line for _, line in _processes(pc)),
        or_say="the uninstaller's end",
    )


def registry(pc: Desktop, key: str) -> dict[str, str]:
    """Return the values of a registry key, none when there is no such key."""
    values: dict[str, str] = pc.ask("registry", key)
    return values


def running(pc: Desktop) -> list[int]:
    """Return the process ids of the client, as Linux numbers them."""
    return [pid for pid, line in _processes(pc) if line.split("\0")[0].endswith(EXE)]


def _processes(pc: Desktop) -> list[tuple[int, str]]:
    """Return process id and command line, with NUL between arguments, of all Windows programs."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("WINEPREFIX") == str(pc.prefix):
                found.append((process.pid, "\0".join(process.cmdline())))
    return found


def traces(pc: Desktop) -> list[str]:
    """Return the files, folders and registry lines that have the product's name."""
    files = [
        str(path.relative_to(pc.drive_c))
        for path in pc.drive_c.rglob("*")
        if "coconowork" in path.name.lower() and "Temp" not in path.parts
    ]
    exported = pc.drive_c / "export.reg"
    lines: list[str] = []
    for hive in ("HKEY_CURRENT_USER", r"HKEY_LOCAL_MACHINE\Software"):
        pc.quiet("regedit", "/E", r"C:\export.reg", hive)
        text = exported.read_text(encoding="utf-16")
        lines += [line for line in text.splitlines() if re.search("coconowork", line, re.I)]
        exported.unlink()
    return files + lines
