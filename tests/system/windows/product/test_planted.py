"""No DLL is loaded from beside the setup program, or from the working directory."""

from __future__ import annotations

import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from installer import NAME
from installer.wine import windows_path
from tests.support.setup_program import (
    EXE,
    exit_code,
    programs_folder,
    running,
    traces,
    wait_for_uninstaller,
)
from tests.support.windows_product import Built
from tests.support.wine import INSIDE, Desktop, wait_for

KNOWN = """
advapi32 clbcatq combase comdlg32 coml2 difxapi gdi32 gdiplus imagehlp imm32 kernel32 kernelbase
msctf msvcrt normaliz nsi ntdll ole32 oleaut32 psapi rpcrt4 sechost setupapi shcore shell32 shlwapi
ucrtbase user32 win32u wldap32 ws2_32
"""
"""Windows, unlike Wine, loads these from its own folder only (KnownDLLs and their imports)."""
BEFORE_THE_PROGRAM = {"version.dll", "uxtheme.dll", "winex11.drv", "zlib1.dll"}
"""Wine's comctl32 and user32 load these before a program's first instruction."""
PHANTOM = """
api-ms-win-core-fibers-l1-1-2 api-ms-win-core-localization-l1-2-1 cryptbase nsexec ntmarta system
"""
"""DLLs that programs look for, but neither Wine's Windows nor the client's folder has."""
TRUSTED = BEFORE_THE_PROGRAM | {f"{name}.dll" for name in KNOWN.split()}
LIBRARY = r"[^\"\\]+\.(?:dll|drv|pyd|cpl|ocx)"


class Ground:
    """A PC, and two folders that contain a planted DLL under many names."""

    def __init__(self, pc: Desktop, folder: Path, product: Built) -> None:
        self.pc, self.marks = pc, folder / "marks"
        self.places = self.beside, self.working = folder / "beside", folder / "working"
        compiler = ["x86_64-w64-mingw32-gcc", "-s", str(INSIDE / "planted.c"), "-o"]
        dll, self.control = folder / "planted.dll", folder / "control.exe"
        subprocess.run([*compiler, str(dll), "-shared"], check=True)
        subprocess.run([*compiler, str(self.control), "-DCONTROL", "-municode"], check=True)
        programs = (pc.drive_c / "windows" / "system32", product.onedir)
        names = {path.name.lower() for each in programs for path in each.rglob("*")}
        self.planted = {name for name in names if re.fullmatch(LIBRARY, name)} - TRUSTED
        self.planted |= {f"{name}.dll" for name in PHANTOM.split()}
        for place in self.places:
            place.mkdir()
            for name in self.planted:
                (place / name).hardlink_to(dll)
        self.asked: set[str] = set()
        """The DLLs that programs have looked for."""
        self.loaded: set[str] = set()
        """The DLLs that were loaded from the two folders."""

    def run(self, *command: str, until_quit: bool = False) -> None:
        """Run a program in the working folder; record the DLLs that it looks for and loads."""
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
        with ThreadPoolExecutor() as pool:
            # Read all the time, because a full pipe blocks the program.
            output = pool.submit(process.communicate, timeout=200)
            if until_quit:
                wait_for(lambda: self.pc.window(exe=EXE), "the client's window")
                assert exit_code(self.pc, command[0].replace(".exe", ".com"), "quit") == 0
        text = output.result()[1].decode(errors="replace").lower()
        self.asked |= set(re.findall(rf'looking for l"(?:[^"]*\\)?({LIBRARY})"', text))
        for place in self.places:
            path = re.escape(windows_path(place).replace("\\", r"\\").lower())
            self.loaded |= set(re.findall(rf'loaded l"{path}\\\\({LIBRARY})"', text))


@pytest.fixture(scope="module")
def ground(desktop: Desktop, product: Built, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """Return the PC and the two folders, with the DLLs planted."""
    return Ground(desktop, tmp_path_factory.mktemp("ground"), product)


def test_nothing_planted_is_loaded(ground: Ground, product: Built) -> None:
    """Setup program, client, its windows and uninstaller load only their own DLLs and Windows'."""
    pc, folder = ground.pc, programs_folder(ground.pc)
    setup = Path(shutil.copy(product.setup, ground.beside / "setup.exe"))
    ground.run(windows_path(setup), "/S", "/SERVER=127.0.0.1:1", "/NOAUTOSTART")
    ground.run(rf"{folder}\{NAME}.com", "doctor")
    ground.run(rf"{folder}\{EXE}", "run", until_quit=True)
    wait_for(lambda: not running(pc), "the client's end")
    ground.run(rf"{folder}\uninstall.exe", "/S", "/FORGET")
    wait_for_uninstaller(pc, folder)
    assert traces(pc) == []
    assert {"userenv.dll", "crypt32.dll", "tk86t.dll"} <= ground.asked, "the trace was understood"
    assert ground.asked <= ground.planted | TRUSTED, "name them in PHANTOM"
    assert ground.loaded <= BEFORE_THE_PROGRAM
    assert not ground.marks.exists()


def test_the_trap_works(ground: Ground) -> None:
    """A program without protection loads planted DLLs from both folders, so the test can fail."""
    ground.run(windows_path(ground.control), "cryptbase.dll")
    (ground.working / "cryptbase.dll").unlink()
    beside = Path(shutil.copy(ground.control, ground.beside / "control.exe"))
    ground.run(windows_path(beside), "cryptbase.dll")
    marks = ground.marks.read_text(encoding="utf-16-le").split()
    assert marks == [windows_path(each / "cryptbase.dll") for each in ground.places[::-1]]
    assert "cryptbase.dll" in ground.loaded
