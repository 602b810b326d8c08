"""The windows and the icon at the scales of Windows, in Japanese, photographed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from installer.wine import windows_path
from installer.winpy.assemble import ROOT
from tests.support.polling import eventually
from tests.support.wine import INSIDE, Desktop, Window
from tests.support.x11 import screen

SCREEN = (2560, 1600)
ASSETS = windows_path(ROOT / "agent" / "assets")
VIEW = {
    "state": "standby_old_password",
    "server": "wss://gw.example.com/gateway",
    "user": "tanaka",
    "days_left": 3,
    "valid_until": "2026-12-23T03:00:00+00:00",
}
DESKTOPS = r"HKCU\Software\Wine\Explorer\Desktops"


@pytest.fixture(scope="module")
def desktop(winpy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desktop]:
    """Yield a Japanese Windows with a large screen."""
    folder = tmp_path_factory.mktemp("pc")
    with screen(SCREEN) as display:
        pc = Desktop(folder / "prefix", winpy, display=display, language="ja")
        pc.environment |= {"PYTHONPATH": windows_path(ROOT), "PYTHONUTF8": "1"}
        pc.start()
        size = "x".join(map(str, SCREEN))
        pc.quiet("reg", "add", DESKTOPS, "/v", "shell", "/d", size, "/f")
        yield pc
        pc.close()


def scale(desktop: Desktop, percent: int) -> None:
    """Sign in at this scale."""
    key, dpi = r"HKCU\Control Panel\Desktop", str(96 * percent // 100)
    desktop.quiet("reg", "add", key, "/v", "LogPixels", "/t", "REG_DWORD", "/d", dpi, "/f")
    desktop.sign_out()
    desktop.sign_in()


@pytest.mark.timeout(280)
@pytest.mark.parametrize("percent", [100, 150, 200, 300])
def test_every_window_fits(desktop: Desktop, winpy: Path, percent: int) -> None:
    """Each window has its size times the scale, and the icon is drawn for it."""
    scale(desktop, percent)
    notes = windows_path(desktop.prefix / "notes")
    python = windows_path(winpy / "pythonw.exe")
    tray = [windows_path(INSIDE / "tray.py"), ASSETS, "ja", json.dumps(VIEW), notes]
    desktop.launch(python, *tray)
    widths = {}
    for name in ("status", "password", "about"):
        dialog = windows_path(INSIDE / "dialog.py")
        desktop.launch(python, dialog, ASSETS, "ja", name, json.dumps(VIEW), notes)
        window: Window = eventually(
            lambda: desktop.window(kind="TkTopLevel"), or_say=name, within_s=60
        )
        desktop.xdotool("sleep", "1")
        desktop.screenshot(f"scale-{percent}-{name}", box=window.box)
        left, top, right, bottom = window.box
        assert 0 <= left < right <= SCREEN[0]
        assert 0 <= top < bottom <= SCREEN[1]
        widths[name] = (right - left) * 100 / percent
        desktop.key("Escape")
        eventually(lambda: not desktop.window(kind="TkTopLevel"), or_say="the window's end")
    bar = desktop.window(kind="Shell_TrayWnd")
    assert bar
    desktop.screenshot(f"scale-{percent}-tray", box=(bar.box[2] - 400, *bar.box[1:]))
    assert all(300 < width < 560 for width in widths.values()), widths
