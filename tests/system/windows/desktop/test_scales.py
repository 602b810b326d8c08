"""Screenshots of windows and icon, at the scales and in the colours of Windows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageColor

from agent.dialogs.palette import DARK, LIGHT
from installer.wine import windows_path
from tests.support.stage import Stage
from tests.support.wine import INSIDE, OLD_VIEW, Desktop, Language, signed_in
from tests.support.x11 import screen

SCREEN = (2560, 1600)
VIEW = OLD_VIEW | {"console_url": "https://console.example.com/", "days_left": 3}
Steps = list[tuple[str, ...]]
WINDOWS: dict[str, tuple[Language, str, dict[str, object], Steps]] = {
    # the language, the window, its content, and the steps before its picture
    "status": ("ja", "status", VIEW, []),
    "english": ("en", "status", VIEW, []),
    "refused": ("ja", "password", VIEW, [
        ("reads", "新しいパスワード"), ("type", "Secret-42"), ("key", "Return"),
        ("reads", "ユーザ名またはパスワードが正しくありません")]),
    "question": ("ja", "password", {"state": "logged_out"}, [
        ("reads", "代わりにコードを使う"), ("key", "alt+c"), ("code", "shown"), ("reads", "BCDF"),
        ("code", "typed"), ("reads", "このPCをユーザ")]),
}  # fmt: skip
PERSONALIZE = r"HKCU\Software\Microsoft\Windows\CurrentVersion\Themes\Personalize"
ACCESSIBILITY = r"HKCU\Software\Microsoft\Accessibility"
CONTROL_PANEL = r"HKCU\Control Panel\Desktop"
DESKTOPS = r"HKCU\Software\Wine\Explorer\Desktops"


def put(desktop: Desktop, key: str, name: str, value: object, kind: str = "REG_DWORD") -> None:
    """Write a value to the registry."""
    desktop.quiet("reg", "add", key, "/v", name, "/t", kind, "/d", str(value), "/f")


def photograph(stage: Stage, name: str, picture: str, *program: str) -> tuple[int, object]:
    """Open a window and save a screenshot. Return its width and its background colour."""
    language, dialog, view, steps = WINDOWS[name]
    stage.language = language
    stage.open(dialog, view, *program)
    stage.sees("TkTopLevel")
    stage.does(steps)
    kept, (left, top, right, bottom) = stage.keep(f"{picture}-{name}")
    assert 0 <= left < right <= SCREEN[0]
    assert 0 <= top < bottom <= SCREEN[1]
    with Image.open(kept) as shown:
        ground = shown.convert("RGB").getpixel((shown.width // 2, shown.height - 10))
    return right - left, ground


@pytest.fixture(scope="module")
def desktop(winpy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desktop]:
    """Yield a Japanese Windows with a large screen."""
    folder = tmp_path_factory.mktemp("pc")
    with screen(SCREEN) as display, signed_in(folder, winpy, display, "ja") as pc:
        put(pc, DESKTOPS, "shell", "x".join(map(str, SCREEN)), "REG_SZ")
        pc.sign_out()
        pc.sign_in()
        yield pc


@pytest.fixture(scope="module")
def stage(desktop: Desktop) -> Stage:
    """Return the stage that shows windows at 100 %."""
    return Stage(desktop, "ja")


@pytest.fixture(scope="module")
def widths(stage: Stage) -> dict[str, int]:
    """Return the width of each window at 100 %."""
    return {name: photograph(stage, name, "scale-100")[0] for name in WINDOWS}


def test_texts_grow_on_top_of_the_scale(stage: Stage, widths: dict[str, int]) -> None:
    """Windows use the user's text size, on top of the scale."""
    put(stage.desktop, ACCESSIBILITY, "TextScaleFactor", 200)
    large, _ = photograph(stage, "status", "text-200")
    put(stage.desktop, ACCESSIBILITY, "TextScaleFactor", 100)
    assert 1.8 < large / widths["status"] < 2.2


@pytest.mark.parametrize("look", ["light", "dark", "contrast"])
def test_windows_have_the_colours_that_the_user_wants(stage: Stage, look: str) -> None:
    """Each kind of window has light colours, dark ones, or a contrast theme's, as the user set."""
    ground = {"light": LIGHT.paper, "dark": DARK.paper, "contrast": "#000000"}[look]
    program = [windows_path(INSIDE / "contrast.py")] if look == "contrast" else []
    put(stage.desktop, PERSONALIZE, "AppsUseLightTheme", int(look != "dark"))
    for name in ("status",) if look == "light" else ("status", "refused", "question"):
        assert photograph(stage, name, look, *program)[1] == ImageColor.getrgb(ground), name


@pytest.mark.parametrize("percent", [150, 200, 300])
def test_every_window_grows_with_the_scale(
    desktop: Desktop, widths: dict[str, int], percent: int
) -> None:
    """The windows fit on the screen at each scale of Windows, and keep their proportions.

    Each sign-in starts another session.
    """
    session = Stage(desktop, "ja").ask("session")
    put(desktop, CONTROL_PANEL, "LogPixels", 96 * percent // 100)
    desktop.sign_out()
    desktop.sign_in()
    stage = Stage(desktop, "ja")
    assert stage.ask("session") != session
    stage.ask("tray", "ja", {"state": "standby_old_password", "days_left": 3})
    for name, width in widths.items():
        found, _ = photograph(stage, name, f"scale-{percent}")
        assert 0.9 < found / (width * percent / 100) < 1.1, name
    desktop.screenshot(f"scale-{percent}-tray", box=(SCREEN[0] - 200, SCREEN[1] - 80, *SCREEN))
