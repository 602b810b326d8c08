"""The windows and the icon at the scales of Windows, in Japanese, photographed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageColor

from agent.dialogs.palette import DARK, LIGHT
from installer.wine import windows_path
from installer.winpy.assemble import ROOT
from tests.support.polling import eventually
from tests.support.wine import INSIDE, OLD_VIEW, Desktop
from tests.support.x11 import screen

SCREEN = (2560, 1600)
ASSETS = windows_path(ROOT / "agent" / "assets")
VIEW = OLD_VIEW | {"console_url": "https://console.example.com/", "days_left": 3}
BY_CODE = ("key", "alt+c", "dialog")
WINDOWS: dict[str, tuple[str, list[tuple[str, str, str]]]] = {
    # which window, what changes it before it is photographed, and the line that this gives, if any
    "status": ("status", []),
    "password": ("password", []),
    "password-wrong": ("password", [("type", "wrong", ""), ("key", "Return", "wss:")]),
    "log-in": ("log in", []),
    "log-out": ("log out", []),
    "about": ("about", []),
    "code": ("log in", [BY_CODE]),
    "code-typed": ("log in", [BY_CODE, ("user", "typed", "dialog")]),
    "code-expired": ("log in", [BY_CODE, ("user", "expired", "dialog")]),
}  # fmt: skip
SCALED = ("status", "password", "about", "code-typed")
SAME = {"password", "code", "code-expired"}
"""Windows that others show in another state; one look is enough for them."""
PERSONALIZE = r"HKCU\Software\Microsoft\Windows\CurrentVersion\Themes\Personalize"
ACCESSIBILITY = r"HKCU\Software\Microsoft\Accessibility"
DWORD = ("/f", "/t", "REG_DWORD")
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


def photograph(desktop: Desktop, name: str, picture: str, *program: str) -> tuple[Path, int]:
    """Open a window, keep a picture of it, and close it. Return the picture and its width."""
    notes = desktop.prefix / "notes"
    kind, steps = WINDOWS[name]

    def lines(kind: str) -> list[str]:
        noted = notes.read_text("utf-8").splitlines()
        return [line for line in noted if line.startswith(kind)]

    def noted(kind: str, *, more_than: int = 0) -> None:
        """Wait until the dialog has noted more lines of this kind."""
        eventually(lambda: len(lines(kind)) > more_than, or_say=kind, within_s=60)

    notes.write_text("")
    view = [json.dumps(VIEW), windows_path(notes)]
    python, script = desktop._winpy / "pythonw.exe", INSIDE / "dialog.py"
    desktop.launch(*map(windows_path, (python, script)), ASSETS, "ja", kind, *view, *program)
    noted("dialog")
    for action, value, line in steps:
        desktop.xdotool("sleep", "1")
        before = len(lines(line))
        if action == "user":
            notes.with_name(f"{notes.name}.{value}").touch()
        else:
            getattr(desktop, action)(value)
        if line:
            noted(line, more_than=before)
    desktop.xdotool("sleep", "1.5")
    left, top, right, bottom = map(int, lines("dialog")[-1].split()[1:5])
    kept = desktop.screenshot(picture, box=(left, top, right, bottom))
    assert 0 <= left < right <= SCREEN[0]
    assert 0 <= top < bottom <= SCREEN[1]
    desktop.key("Escape")
    noted("closed")
    return kept, right - left


@pytest.fixture(scope="module")
def widths() -> dict[str, list[float]]:
    """Return the widths of each window, brought to 100 %, at the scales so far."""
    return {name: [] for name in SCALED}


@pytest.mark.parametrize("percent", [100, 150, 200, 300])
def test_every_window_grows_with_the_scale(
    desktop: Desktop, winpy: Path, widths: dict[str, list[float]], percent: int
) -> None:
    """The windows fit on the screen at each scale of Windows, and keep their proportions."""
    scale(desktop, percent)
    python, tray = windows_path(winpy / "pythonw.exe"), windows_path(INSIDE / "tray.py")
    notes = windows_path(desktop.prefix / "notes-tray")
    desktop.launch(python, tray, ASSETS, "ja", json.dumps(VIEW), notes)
    for name, found in widths.items():
        _, width = photograph(desktop, name, f"scale-{percent}-{name}")
        found.append(width * 100 / percent)
        assert max(found) < 1.1 * min(found), (name, found)
    corner = (SCREEN[0] - 200, SCREEN[1] - 80, *SCREEN)
    desktop.screenshot(f"scale-{percent}-tray", box=corner)


@pytest.fixture(scope="module")
def unscaled(desktop: Desktop) -> Desktop:
    """Return the desktop at 100 %."""
    scale(desktop, 100)
    return desktop


@pytest.mark.parametrize("look", ["light", "dark", "contrast"])
def test_every_window_is_dark_or_in_contrast_colours(unscaled: Desktop, look: str) -> None:
    """Windows take the user's choice."""
    ground = {"light": LIGHT.paper, "dark": DARK.paper, "contrast": "#000000"}[look]
    program = [windows_path(INSIDE / "contrast.py")] if look == "contrast" else []
    light = ("/v", "AppsUseLightTheme", "/d", str(int(look != "dark")))
    unscaled.quiet("reg", "add", PERSONALIZE, *DWORD, *light)
    for name in WINDOWS if look == "light" else WINDOWS.keys() - SAME:
        kept, width = photograph(unscaled, name, f"{look}-{name}", *program)
        with Image.open(kept) as picture:
            found = picture.convert("RGB").getpixel((width // 2, picture.height - 10))
        assert found == ImageColor.getrgb(ground), name


def test_texts_grow_on_top_of_the_scale(unscaled: Desktop) -> None:
    """Windows take the user's size of texts."""
    _, small = photograph(unscaled, "status", "text-100-status")
    unscaled.quiet("reg", "add", ACCESSIBILITY, *DWORD, "/v", "TextScaleFactor", "/d", "200")
    _, large = photograph(unscaled, "status", "text-200-status")
    assert 1.8 < large / small < 2.2
