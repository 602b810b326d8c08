"""No DLL is loaded from beside the setup program, or from the working directory."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from threading import Thread

import pytest

from installer import NAME
from installer.wine import windows_path
from tests.support.polling import eventually
from tests.support.setup_program import (
    EXE,
    exit_code,
    programs_folder,
    running,
    unix_path,
    wait_for_uninstaller,
)
from tests.support.windows_product import Built
from tests.support.wine import INSIDE, Desktop

KNOWN = """
advapi32 clbcatq combase comdlg32 coml2 difxapi gdi32 gdiplus imagehlp imm32 kernel32 kernelbase
msctf msvcrt normaliz nsi ntdll ole32 oleaut32 psapi rpcrt4 sechost setupapi shcore shell32 shlwapi
ucrtbase user32 win32u wldap32 ws2_32
"""
"""Windows takes these always from its own folder (KnownDLLs and what they import), unlike Wine."""
BEFORE_THE_PROGRAM = {"version.dll", "uxtheme.dll", "winex11.drv", "zlib1.dll"}
"""Wine's own comctl32 and user32 load these before the first instruction of a program."""
LIBRARY = r"[^\"\\]+\.(?:dll|drv|pyd|cpl|ocx)"


class Ground:
    """Two folders in which DLLs are planted, and a PC."""

    def __init__(self, pc: Desktop, folder: Path) -> None:
        self.pc, self.marks = pc, folder / "marks"
        self.beside, self.working = folder / "beside", folder / "working"
        self.beside.mkdir()
        self.working.mkdir()
        self.asked: set[str] = set()
        self.loaded: set[str] = set()
        """What programs have asked for, and which of it came from the two folders."""
        compiler = ["x86_64-w64-mingw32-gcc", "-s", str(INSIDE / "planted.c"), "-o"]
        self._dll, self.control = folder / "planted.dll", folder / "control.exe"
        subprocess.run([*compiler, str(self._dll), "-shared"], check=True)
        subprocess.run([*compiler, str(self.control), "-DCONTROL", "-municode"], check=True)

    def plant(self) -> None:
        """Plant a DLL under each name that was asked for."""
        for name in self.asked - {f"{known}.dll" for known in KNOWN.split()} - BEFORE_THE_PROGRAM:
            for folder in (self.beside, self.working):
                shutil.copy(self._dll, folder / name)

    def run(self, *command: str, until_quit: bool = False) -> None:
        """Run a program in the working folder, and note what it asks for and loads."""
        process = subprocess.Popen(
            ["wine", *command],
            env={
                **self.pc.environment,
                "WINEDEBUG": "+module,+loaddll",
                "PLANTED": windows_path(self.marks),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=self.working,
        )
        output: list[bytes] = []
        # Read all the time: a program stops at a full pipe.
        reader = Thread(target=lambda: output.append(process.communicate(timeout=200)[1]))
        reader.start()
        if until_quit:
            eventually(lambda: self.pc.window(exe=EXE), or_say="the client's window", within_s=60)
            assert exit_code(self.pc, command[0].replace(".exe", ".com"), "quit") == 0
        reader.join()
        text = output[0].decode(errors="replace")
        asked = re.findall(rf'looking for L"(?:[^"]*\\)?({LIBRARY})"', text, re.I)
        self.asked |= {name.lower() for name in asked}
        loaded = re.findall(rf'Loaded L"([^"]*\\)({LIBRARY})"', text, re.I)
        planted = {
            windows_path(folder).replace("\\", r"\\") + r"\\"
            for folder in (self.beside, self.working)
        }
        self.loaded |= {name.lower() for place, name in loaded if place in planted}


@pytest.fixture
def ground(desktop: Desktop, tmp_path: Path) -> Ground:
    """Return two folders in which DLLs can be planted."""
    return Ground(desktop, tmp_path)


def test_nothing_planted_is_loaded(ground: Ground, product: Built) -> None:
    """Setup program, client, its windows and uninstaller load only their own DLLs and Windows'."""
    pc, folder = ground.pc, programs_folder(ground.pc)
    setup = Path(shutil.copy(product.product.setup, ground.beside / "setup.exe"))
    for _ in ("to learn the names", "with planted DLLs"):
        ground.loaded.clear()
        ground.run(windows_path(setup), "/S", "/SERVER=127.0.0.1:1", "/NOAUTOSTART")
        assert unix_path(pc, folder).exists()
        ground.run(rf"{folder}\{NAME}.com", "doctor")
        ground.run(rf"{folder}\{EXE}", "run", until_quit=True)
        eventually(lambda: not running(pc), or_say="the client's end")
        ground.run(rf"{folder}\uninstall.exe", "/S")
        wait_for_uninstaller(pc, folder)
        ground.plant()
    assert {"userenv.dll", "crypt32.dll", "tk86t.dll"} <= ground.asked, "the trace was understood"
    assert {path.name for path in ground.working.iterdir()} >= {"userenv.dll", "crypt32.dll"}
    assert ground.loaded <= BEFORE_THE_PROGRAM
    assert not ground.marks.exists()


def test_the_trap_works(ground: Ground) -> None:
    """A program that lets Windows look everywhere does load planted DLLs, from both folders."""
    ground.asked |= {"own.dll"}
    ground.plant()
    ground.run(windows_path(ground.control), "own.dll")
    (ground.working / "own.dll").unlink()
    beside = Path(shutil.copy(ground.control, ground.beside / "control.exe"))
    ground.run(windows_path(beside), "own.dll")
    marks = ground.marks.read_text(encoding="utf-16-le").split()
    assert marks == [windows_path(each / "own.dll") for each in (ground.working, ground.beside)]
    assert ground.loaded == {"own.dll"}
