"""The console program at a prompt: exit codes, language, code pages, a closed input."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from installer import NAME
from installer.guard import NAME as GUARD
from tests.support.setup_program import exit_code, install, programs_folder, running, uninstall
from tests.support.windows_product import Built
from tests.support.wine import Desktop, wait_for

SCRIPT = r"""
@echo off
cd /d "%LOCALAPPDATA%\Programs\Coconowork Client"
chcp PAGE >nul
set PATHEXT=.COM;.EXE
call :try help --help
call :try status status
call :try json status --json
call :try bogus bogus
call :try doctor doctor
call :try login login --server gw.invalid --user tanaka
call :try run run
exit
:try
set name=%1
shift
coconowork-client %1 %2 %3 %4 %5 < NUL > C:\%name%.txt 2>&1
echo %errorlevel% > C:\%name%.code
goto :eof
"""
EXPECTED = {
    "help": (0, "使い方: coconowork-client"),
    "status": (3, "クライアントプログラムは動作していません。"),
    "json": (3, '{"state": "not_running"}'),
    "bogus": (2, "エラー: 引数 コマンド: 'bogus' は使用できません"),
    "doctor": (1, "gw.invalid:8443"),
    "run": (0, ""),  # the client itself goes on without a console
    "login": (1, "パスワードを入力してください。\n何も変更していません。"),
}
"""For each command its exit code, and what it says."""


@pytest.fixture(scope="module")
def folder(desktop: Desktop, product: Built) -> Iterator[str]:
    """Yield the folder of the installed program, which is removed in the end."""
    assert install(desktop, product.setup, "/NOAUTOSTART", "/SERVER=gw.invalid:8443") == 0
    yield programs_folder(desktop)
    uninstall(desktop, programs_folder(desktop))


@pytest.mark.parametrize("page", ["932", "65001"])
def test_at_a_prompt(desktop: Desktop, folder: str, page: str) -> None:
    """The prompt waits for each command, gets its exit code, and reads Japanese.

    `run` returns at once; `quit` ends the client and its guard.
    """
    script = SCRIPT.replace("PAGE", page).replace("\n", "\r\n").encode("ascii")
    (desktop.drive_c / "try.bat").write_bytes(script)
    desktop.quiet("wineconsole", "cmd", "/c", r"C:\try.bat")
    for name, (code, said) in EXPECTED.items():
        data = (desktop.drive_c / f"{name}.txt").read_bytes()
        text = data.decode("cp932" if page == "932" else "utf-8").replace("\r\n", "\n")
        assert said in text, name
        assert int((desktop.drive_c / f"{name}.code").read_text("ascii")) == code, name
    program = rf"{folder}\{NAME}.com"
    wait_for(lambda: exit_code(desktop, program, "status") == 13, "the client's answer")
    assert running(desktop, GUARD)
    assert exit_code(desktop, program, "quit") == 0
    wait_for(lambda: not running(desktop) and not running(desktop, GUARD), "the end of both")
