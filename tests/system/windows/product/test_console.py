"""The console program at a prompt: exit codes, language, code pages, a closed input."""

from __future__ import annotations

import pytest

from tests.support.setup_program import install, programs_folder, uninstall
from tests.support.windows_product import Built
from tests.support.wine import Desktop

SCRIPT = r"""
@echo off
cd /d "%LOCALAPPDATA%\Programs\Coconowork Client"
chcp PAGE >nul
set PATHEXT=.COM;.EXE
call :try help --help
call :try status status
call :try json status --json
call :try bogus bogus
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
    "run": (0, ""),  # the client itself goes on without a console
    "login": (1, "パスワードを入力してください。\n何も変更していません。"),
}
"""For each command its exit code, and what it says."""


@pytest.mark.parametrize("page", ["932", "65001"])
def test_at_a_prompt(desktop: Desktop, product: Built, page: str) -> None:
    """The prompt waits for each command, gets its exit code, and reads Japanese."""
    assert install(desktop, product.product.setup, "/NOAUTOSTART") == 0
    script = SCRIPT.replace("PAGE", page).replace("\n", "\r\n").encode("ascii")
    (desktop.drive_c / "try.bat").write_bytes(script)
    desktop.quiet("wineconsole", "cmd", "/c", r"C:\try.bat")
    for name, (code, said) in EXPECTED.items():
        data = (desktop.drive_c / f"{name}.txt").read_bytes()
        text = data.decode("cp932" if page == "932" else "utf-8").replace("\r\n", "\n")
        assert said in text, name
        assert int((desktop.drive_c / f"{name}.code").read_text("ascii")) == code, name
    uninstall(desktop, programs_folder(desktop))
