"""The console program at a prompt: exit codes, language, code pages, a closed input."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from installer import NAME
from installer.guard import NAME as GUARD
from tests.support.setup_program import exit_code, install, programs_folder, running, uninstall
from tests.support.windows_product import Built
from tests.support.wine import Desktop, wait_for

EXPECTED = {
    "--help": (0, "使い方: coconowork-client"),
    "status": (3, "クライアントプログラムは動作していません。"),
    "status --json": (3, '{"state": "not_running"}'),
    "bogus": (2, "エラー: 引数 コマンド: 'bogus' は使用できません"),
    "doctor": (1, "gw.invalid:8443"),
    "login --server gw.invalid --user tanaka": (
        1,
        "パスワードを入力してください。\n何も変更していません。",
    ),
    "run": (0, ""),  # the client runs on without a console
}
"""For each command its exit code and its output."""


@pytest.fixture(scope="module")
def folder(desktop: Desktop, product: Built) -> Iterator[str]:
    """Install the program. Yield its folder; uninstall at the end."""
    assert install(desktop, product.setup, "/NOAUTOSTART", "/SERVER=gw.invalid:8443") == 0
    yield programs_folder(desktop)
    uninstall(desktop, programs_folder(desktop))


@pytest.mark.parametrize("page", ["932", "65001"])
def test_at_a_prompt(desktop: Desktop, folder: str, page: str) -> None:
    """The prompt waits for each command, gets its exit code, and reads Japanese.

    `run` returns at once; `quit` ends the client and its guard.
    """
    script = ["@echo off", f'cd /d "{folder}"', f"chcp {page} >nul", "set PATHEXT=.COM;.EXE"]
    for number, command in enumerate(EXPECTED):
        script.append(rf"coconowork-client {command} < NUL > C:\{number}.txt 2>&1")
        script.append(rf"echo %errorlevel% > C:\{number}.code")
    (desktop.drive_c / "try.bat").write_text("\n".join([*script, ""]), newline="\r\n")
    desktop.quiet("wineconsole", "cmd", "/c", r"C:\try.bat")
    for number, (command, (code, said)) in enumerate(EXPECTED.items()):
        data = (desktop.drive_c / f"{number}.txt").read_bytes()
        text = data.decode("cp932" if page == "932" else "utf-8").replace("\r\n", "\n")
        assert said in text, command
        assert int((desktop.drive_c / f"{number}.code").read_text("ascii")) == code, command
    program = rf"{folder}\{NAME}.com"
    wait_for(lambda: exit_code(desktop, program, "status") == 13, "the client's answer")
    assert running(desktop, GUARD)
    assert exit_code(desktop, program, "quit") == 0
    wait_for(lambda: not running(desktop) and not running(desktop, GUARD), "the end of both")
