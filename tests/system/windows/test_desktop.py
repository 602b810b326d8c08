"""The Windows desktop for tests has the right version, language and task bar."""

from __future__ import annotations

import json

from tests.support.wine import Desktop


def test_is_a_japanese_windows_10(desktop: Desktop) -> None:
    """Version and language are those of a Japanese Windows 10."""
    code = (
        "import ctypes,json,ssl,sys,tkinter;"
        "print(json.dumps([sys.version_info[:3],sys.getwindowsversion()[:2],"
        "ctypes.windll.kernel32.GetUserDefaultUILanguage(),tkinter.Tcl().eval('info patchlevel')]))"
    )
    done = desktop.python("-c", code)
    assert done.code == 0, done.output
    assert json.loads(done.output) == [[3, 11, 9], [10, 0], 1041, "8.6.13"]


def test_has_a_task_bar(desktop: Desktop) -> None:
    """The task bar is at the bottom of the screen; a picture is kept."""
    bar = desktop.window(kind="Shell_TrayWnd")
    assert bar is not None
    assert desktop.screenshot("desktop").stat().st_size > 0
