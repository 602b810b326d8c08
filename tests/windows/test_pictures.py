"""Tray, menu, toast and dialogs as a person sees and uses them, with pictures in both languages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from installer.wine import windows_path
from installer.winpy.assemble import ROOT
from tests.windows.wine import INSIDE, Desktop, Language, Window, wait_for

ASSETS = windows_path(ROOT / "assets")
OLD = {
    "state": "standby_old_password",
    "server": "wss://gw.example.com/gateway",
    "user": "tanaka",
    "days_left": 30,
    "valid_until": "2026-12-23T03:00:00+00:00",
    "console_url": "https://console.example.com/",
    "autostart": True,
}
STANDBY = {key: OLD[key] for key in ("server", "user", "console_url", "autostart")} | {
    "state": "standby"
}
ICON_FROM_RIGHT, ICON_FROM_BOTTOM = 10, 10
"""The middle of the tray's only icon."""

WORDS: dict[str, dict[Language, str]] = {
    "update": {
        "ja": "保存されているパスワードの更新 — coconowork client",
        "en": "Update the stored password — coconowork client",
    },
    "sign in": {
        "ja": "ココナワークへのログイン — coconowork client",
        "en": "Sign in to coconowork — coconowork client",
    },
    "status": {"ja": "coconowork client", "en": "coconowork client"},
    "about": {"ja": "coconowork client について", "en": "About coconowork client"},
    "30 days": {"ja": "30日後", "en": "in 30 days"},
    "today": {"ja": "本日", "en": "today"},
}


@dataclass
class Person:
    """Somebody at the PC, who speaks one language."""

    desktop: Desktop
    language: Language
    notes: Path
    words: dict[str, str] = field(default_factory=dict)

    def start(self, script: str, *arguments: str) -> None:
        """A program of `inside/`, left running; what it says is in `noted`."""
        self.notes.write_text("")
        python = windows_path(self.desktop._winpy / "pythonw.exe")
        self.desktop.launch(python, windows_path(INSIDE / f"{script}.py"), ASSETS, *arguments)

    def noted(self, line: str) -> None:
        """Wait for a line of the program."""
        wait_for(line, lambda: line in self.notes.read_text().splitlines())

    def open_dialog(self, name: str, view: dict[str, object], title: str) -> Window:
        self.start("dialog", self.language, name, json.dumps(view), windows_path(self.notes))
        return self.dialog(title)

    def dialog(self, title: str) -> Window:
        """The dialog of that title; drawn, with the keyboard."""

        def look() -> Window | None:
            found = self.desktop.window(title=self.words[title], kind="TkTopLevel")
            return found if found and found.text == self.words[title] else None

        return wait_for(title, look)

    def keep(self, name: str, window: Window) -> None:
        """A picture of the window, once it has been drawn."""
        self.desktop.xdotool("sleep", "0.6")
        self.desktop.screenshot(f"{name}-{self.language}", box=window.box)

    def icon(self) -> tuple[int, int]:
        """Where the tray's icon is."""
        bar = wait_for("the task bar", lambda: self.desktop.window(kind="Shell_TrayWnd"))
        return bar.box[2] - ICON_FROM_RIGHT, bar.box[3] - ICON_FROM_BOTTOM

    def corner(self) -> tuple[int, int, int, int]:
        """The lower right of the screen."""
        right, bottom = self.icon()[0] + ICON_FROM_RIGHT, self.icon()[1] + ICON_FROM_BOTTOM
        return right - 460, bottom - 320, right, bottom


@pytest.fixture(scope="module", params=["ja", "en"])
def person(
    winpy: Path,
    display: str,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Person]:
    """A fresh Windows of that language."""
    language: Language = request.param
    folder = tmp_path_factory.mktemp(f"pc-{language}")
    desktop = Desktop(folder / "prefix", winpy, display=display, language=language)
    desktop.environment |= {"PYTHONPATH": windows_path(ROOT), "PYTHONUTF8": "1"}
    desktop.start()
    words = {name: texts[language] for name, texts in WORDS.items()}
    yield Person(desktop, language, folder / "notes", words)
    desktop.close()


@pytest.mark.timeout(240)
def test_menu_by_mouse(person: Person) -> None:
    """Right click, the tooltip's and the menu's look, and the click on the password's line."""
    view = json.dumps({key: value for key, value in OLD.items() if key != "valid_until"})
    person.start("tray", person.language, view, windows_path(person.notes))
    at = person.icon()
    desktop = person.desktop

    def tooltip() -> Window | None:
        x, y = at
        desktop.xdotool("mousemove", str(x - 200), str(y - 300), "mousemove", str(x), str(y))
        desktop.xdotool("sleep", "1")
        return desktop.window(kind="tooltips_class32")

    assert person.words["30 days"] in wait_for("the tooltip", tooltip).text
    desktop.screenshot(f"tray-tooltip-{person.language}", box=person.corner())
    desktop.click(at, button=3)
    menu = wait_for("the menu", lambda: desktop.window(kind="#32768"))
    desktop.xdotool("sleep", "0.5")
    desktop.screenshot(f"tray-menu-{person.language}", box=person.corner())
    left, top, _, _ = menu.box
    # The state, the days left, a line, and then what we want.
    desktop.click((left + 60, top + 65))
    person.noted("update_password")
    desktop.click(at)
    person.noted("status")
    desktop.click(at, button=3)
    menu = wait_for("the menu", lambda: desktop.window(kind="#32768"))
    desktop.click((menu.box[0] + 60, menu.box[3] - 12))
    person.noted("quit")


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("days", "expected"), [("30", "30 days"), ("0", "today")])
def test_toast(person: Person, days: str, expected: str) -> None:
    """The manual's warning, on the screen."""
    corner = person.corner()
    person.start("toast", person.language, days, "12")
    balloon = wait_for("toast", lambda: person.desktop.window(kind="tooltips_class32"))
    person.desktop.screenshot(f"toast-{days}-{person.language}", box=corner)
    assert person.words[expected] in balloon.text
    wait_for("its end", lambda: not person.desktop.window(kind="tooltips_class32"))


@pytest.mark.timeout(240)
def test_update_by_keyboard(person: Person) -> None:
    """A wrong password is said at the field; the right one is confirmed."""
    window = person.open_dialog("password", OLD, "update")
    person.keep("dialog-update", window)
    person.desktop.type("wrong")
    person.desktop.key("Return")
    person.noted("wss://gw.example.com/gateway tanaka wrong")
    person.keep("dialog-update-wrong", person.dialog("update"))
    person.desktop.type("New-Pass1")
    person.desktop.key("Return")
    person.noted("wss://gw.example.com/gateway tanaka right")
    person.keep("dialog-update-done", person.dialog("update"))
    person.desktop.key("Return")
    person.noted("closed")


@pytest.mark.timeout(240)
def test_first_set_up_by_keyboard(person: Person) -> None:
    """The server is filled in; user name, Tab, password, Enter."""
    window = person.open_dialog("password", {"state": "signed_out"}, "sign in")
    person.keep("dialog-sign-in", window)
    person.desktop.type("tanaka")
    person.desktop.key("Tab")
    person.desktop.type("New-Pass1")
    person.desktop.key("Return")
    person.noted("wss://gw.example.com/gateway tanaka right")
    person.keep("dialog-sign-in-done", person.dialog("sign in"))
    person.desktop.key("Escape")
    person.noted("closed")


@pytest.mark.timeout(240)
def test_status_by_keyboard(person: Person) -> None:
    """Each state looks its part; the button for the password is one shift+Tab away."""
    trouble = {**STANDBY, "state": "waiting", "reason": "no_such_host"}
    for name, view in (("trouble", trouble), ("standby", STANDBY), ("old", OLD)):
        window = person.open_dialog("status", view, "status")
        person.keep(f"dialog-status-{name}", window)
        if name == "old":
            person.desktop.key("shift+Tab", "space")
            person.noted("update_password")
        person.desktop.key("Escape")
        person.noted("closed")


@pytest.mark.timeout(240)
def test_about(person: Person) -> None:
    """Which program it is; Enter closes it."""
    person.keep("dialog-about", person.open_dialog("about", STANDBY, "about"))
    person.desktop.key("Return")
    person.noted("closed")
