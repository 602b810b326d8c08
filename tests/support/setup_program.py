"""Run the setup program on a PC; inspect processes, registry, and files that it leaves."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil

from installer import NAME
from installer.wine import windows_path
from tests.support.wine import Desktop, wait_for

EVERYBODY = r"C:\Program Files\Coconowork Client"
EXE = f"{NAME}.exe"
SETTINGS = r"Software\Coconowork\Client"
RUN = r"Software\Microsoft\Windows\CurrentVersion\Run"
UNINSTALL = r"Software\Microsoft\Windows\CurrentVersion\Uninstall\Coconowork Client"


def unix_path(pc: Desktop, path: str) -> Path:
    """Return this machine's path of a path on drive C."""
    return pc.drive_c.joinpath(*path.split("\\")[1:])


def programs_folder(pc: Desktop) -> str:
    """Return the folder of a per-user installation. Wine's user has the Unix user's name."""
    user = next(p.name for p in (pc.drive_c / "users").iterdir() if p.name != "Public")
    return rf"C:\users\{user}\AppData\Local\Programs\Coconowork Client"


def exit_code(pc: Desktop, *command: str) -> int:
    """Run a program. Return all 32 bits of its exit status."""
    code: int = pc.ask("start", *command, timeout_s=120)
    return code


def install(pc: Desktop, setup: Path, *options: str) -> int:
    """Run a setup program silently. Return its exit status."""
    return exit_code(pc, windows_path(setup), "/S", *options)


def uninstall(pc: Desktop, folder: str, *options: str) -> None:
    """Run the uninstaller silently, with the user's data. Wait until nothing is left on the PC."""
    exit_code(pc, rf"{folder}\uninstall.exe", *(options or ("/S", "/FORGET")))
    wait_for_uninstaller(pc, folder)
    wait_for(lambda: not traces(pc), lambda: traces(pc))


def wait_for_uninstaller(pc: Desktop, folder: str) -> None:
    """Wait until a started uninstaller has removed its file and ended.

    A copy with the argument `_?=` does the work. The copy removes uninstall.exe first, the registry
    keys later.
    """
    file = unix_path(pc, rf"{folder}\uninstall.exe")
    wait_for(
        lambda: (
            not file.exists() and not any("\0_?=" in line for line, _ in _programs(pc).values())
        ),
        "the uninstaller's end",
    )


def registry(pc: Desktop, key: str) -> dict[str, str]:
    """Return the values of a registry key, none when there is no such key."""
    values: dict[str, str] = pc.ask("registry", key)
    return values


def running(pc: Desktop, program: str = EXE) -> dict[int, str]:
    """Return the running processes of a program: the profile by Linux process id."""
    found = _programs(pc).items()
    return {pid: home for pid, (line, home) in found if line.partition("\0")[0].endswith(program)}


def _programs(pc: Desktop) -> dict[int, tuple[str, str]]:
    """Return each Windows process's command line, with NUL between words, and profile, by id."""
    found = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            own = process.environ()
            if own.get("WINEPREFIX") == str(pc.prefix):
                line = "\0".join(process.cmdline())
                found[process.pid] = line, own.get("COCONOWORK_HOME", "")
    return found


def traces(pc: Desktop) -> list[str]:
    """Return the files, folders and registry lines that have the product's name."""
    files = [
        str(path.relative_to(pc.drive_c))
        for path in pc.drive_c.rglob("*")
        if "coconowork" in path.name.lower() and "Temp" not in path.parts
    ]
    lines: list[str] = pc.ask("mentions", "coconowork", r"C:\registry")
    return files + lines
