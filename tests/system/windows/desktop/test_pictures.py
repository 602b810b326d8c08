"""Tray, menu, toast and dialogs, used and photographed in both languages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from installer.wine import windows_path
from installer.winpy.assemble import ROOT
from tests.support.polling import eventually
from tests.support.wine import INSIDE, OLD_VIEW, SCREEN, Desktop, Language

ASSETS = windows_path(ROOT / "agent" / "assets")
OLD = OLD_VIEW | {"console_url": "https://console.example.com/", "autostart": True}
STANDBY = {key: OLD[key] for key in ("server", "user", "console_url", "autostart")} | {
    "state": "standby"
}
Box = tuple[int, int, int, int]

WORDS: dict[str, dict[Language, str]] = {
    "update": {
        "ja": "保存されているパスワードの更新 — coconowork client",
        "en": "Update the stored password — coconowork client",
    },
    "log in": {
        "ja": "ココナワークへのログイン — coconowork client",
        "en": "Log in to coconowork — coconowork client",
    },
    "code": {"ja": "コードでログイン", "en": "Log in by a code"},
    "question": {
        "ja": "このPCを接続しますか?",
        "en": "Connect this PC?",
    },
    "status": {"ja": "coconowork client", "en": "coconowork client"},
    "about": {"ja": "coconowork client について", "en": "About coconowork client"},
    "30 days": {"ja": "30日後", "en": "in 30 days"},
    "today": {"ja": "本日", "en": "today"},
}


@dataclass
class Person:
    """A user at the PC, who reads one language."""

    desktop: Desktop
    language: Language
    notes: Path
    words: dict[str, str] = field(default_factory=dict)

    def start(self, script: str, *arguments: str) -> None:
        """Start a program of `inside/`, whose lines `noted` waits for."""
        self.notes.write_text("")
        python = windows_path(self.desktop._winpy / "pythonw.exe")
        self.desktop.launch(python, windows_path(INSIDE / f"{script}.py"), ASSETS, *arguments)

    def noted(self, line: str) -> None:
        """Wait for a line of the program."""
        eventually(lambda: line in self.notes.read_text().splitlines(), or_say=line)

    def seen(self, kind: str, text: str = "") -> Box:
        """Wait until the program sees such a window. Return its place on the screen."""

        def look() -> Box | None:
            lines = [line.split(" ", 5) for line in self.notes.read_text().splitlines()]
            for word, *sides, said in reversed([line for line in lines if len(line) == 6]):
                if word == kind and text in said:
                    left, top, right, bottom = map(int, sides)
                    return left, top, right, bottom
            return None

        return eventually(look, or_say=f"{kind} {text}", within_s=60)

    def open_dialog(self, name: str, view: dict[str, object], title: str) -> None:
        self.start("dialog", self.language, name, json.dumps(view), windows_path(self.notes))
        self.seen("dialog", self.words[title])

    def user_does(self, what: str) -> None:
        """Let the code be `typed` elsewhere, or be `expired`; wait until the window says so."""

        def shown() -> int:
            return self.notes.read_text().count("\ndialog ")

        before = shown()
        self.notes.with_name(f"{self.notes.name}.{what}").touch()
        eventually(lambda: shown() > before, or_say=what)

    def keep(self, name: str) -> None:
        """Keep a picture of the dialog, once it has been drawn."""
        self.desktop.xdotool("mousemove", "1", "1", "sleep", "0.8")  # no button is under it
        self.desktop.screenshot(f"{name}-{self.language}", box=self.seen("dialog"))

    @property
    def icon(self) -> tuple[int, int]:
        """Return the middle of the tray's only icon."""
        return SCREEN[0] - 10, SCREEN[1] - 10

    @property
    def corner(self) -> Box:
        """Return the lower right part of the screen."""
        return SCREEN[0] - 820, SCREEN[1] - 360, *SCREEN


@pytest.fixture(scope="module", params=["ja", "en"])
def person(
    winpy: Path,
    display: str,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Person]:
    """Yield a fresh Windows of that language."""
    language: Language = request.param
    folder = tmp_path_factory.mktemp(f"pc-{language}")
    desktop = Desktop(folder / "prefix", winpy, display=display, language=language)
    desktop.environment |= {"PYTHONPATH": windows_path(ROOT), "PYTHONUTF8": "1"}
    desktop.start()
    words = {name: texts[language] for name, texts in WORDS.items()}
    yield Person(desktop, language, folder / "notes", words)
    desktop.close()


def test_menu_by_mouse(person: Person) -> None:
    """Tooltip and menu open by mouse, and a click on the password's line is reported."""
    view = json.dumps({key: value for key, value in OLD.items() if key != "valid_until"})
    person.start("tray", person.language, view, windows_path(person.notes))
    desktop, (x, y) = person.desktop, person.icon

    def tooltip() -> bool:
        desktop.xdotool("mousemove", str(x - 200), str(y - 300), "mousemove", str(x), str(y))
        desktop.xdotool("sleep", "1")
        return "\ntip " in f"\n{person.notes.read_text()}"

    eventually(tooltip, or_say="the tooltip")
    person.seen("tip", person.words["30 days"])
    desktop.screenshot(f"tray-tooltip-{person.language}", box=person.corner)
    desktop.click(person.icon, button=3)
    left, top, _, _ = person.seen("menu")
    desktop.xdotool("sleep", "0.5")
    desktop.screenshot(f"tray-menu-{person.language}", box=person.corner)
    # The state, the days left, a line, and then what we want.
    desktop.click((left + 60, top + 65))
    person.noted("update_password")
    desktop.click(person.icon)
    person.noted("status")
    person.notes.write_text("")
    desktop.click(person.icon, button=3)
    left, _, _, bottom = person.seen("menu")
    desktop.click((left + 60, bottom - 12))
    person.noted("quit")


@pytest.mark.parametrize(("days", "expected"), [("30", "30 days"), ("0", "today")])
def test_toast(person: Person, days: str, expected: str) -> None:
    """The warning is on the screen, and a click on its icon is reported."""
    person.start("toast", person.language, days, windows_path(person.notes))
    person.seen("tip", person.words[expected])
    person.desktop.screenshot(f"toast-{days}-{person.language}", box=person.corner)
    person.desktop.click(person.icon)
    person.noted("clicked")


RIGHT, WRONG = (f"wss://gw.example.com/gateway tanaka {what}" for what in ("right", "wrong"))
TROUBLE = {**STANDBY, "state": "retrying", "reason": "no_such_host"}
DIALOGS: dict[str, tuple[str, dict[str, object], str, list[tuple[str, ...]]]] = {
    # what is tried: the dialog, what it shows, a part of its title, and what its user does
    "a wrong password, then the right one": ("password", OLD, "update", [
        ("keep", "dialog-update"), ("type", "wrong"), ("key", "Return"), ("noted", WRONG),
        ("keep", "dialog-update-wrong"), ("type", "New-Pass1"), ("key", "Return"),
        ("noted", RIGHT), ("keep", "dialog-update-done"), ("key", "Return")]),
    "the first login": ("password", {"state": "logged_out"}, "log in", [
        ("keep", "dialog-log-in"), ("type", "tanaka"), ("key", "Tab"), ("type", "New-Pass1"),
        ("key", "Return"), ("noted", RIGHT), ("keep", "dialog-log-in-done"), ("key", "Escape")]),
    "a code": ("password", {"state": "logged_out", "console_url": OLD["console_url"]}, "log in", [
        ("keep", "dialog-log-in-new-pc"), ("key", *["Tab"] * 3, "space"),
        ("noted", "wss://gw.example.com/gateway code"),
        ("title", "code"), ("keep", "dialog-code"), ("user", "typed"), ("title", "question"),
        ("keep", "dialog-code-question"), ("key", "shift+Tab", "space"), ("noted", "agreed"),
        ("key", "Escape")]),
    "a code that expires": ("password", {"state": "logged_out"}, "log in", [
        ("keep", "dialog-log-in-again"), ("key", "alt+c"), ("title", "code"), ("user", "expired"),
        ("keep", "dialog-code-expired"), ("key", "Return"), ("title", "code"), ("user", "typed"),
        ("title", "question"), ("key", "Escape")]),
    "trouble": ("status", TROUBLE, "status", [
        ("keep", "dialog-status-trouble"), ("key", "Escape")]),
    "standby": ("status", STANDBY, "status", [
        ("keep", "dialog-status-standby"), ("key", "Escape")]),
    "an old password": ("status", OLD, "status", [
        ("keep", "dialog-status-old"), ("key", "alt+u"),
        ("noted", "update_password"), ("key", "Escape")]),
    "about": ("about", STANDBY, "about", [("keep", "dialog-about"), ("key", "Return")]),
}  # fmt: skip


@pytest.mark.parametrize("case", DIALOGS)
def test_dialog_by_keyboard(person: Person, case: str) -> None:
    """Each window shows what it should, works by keyboard alone, and closes."""
    dialog, view, title, steps = DIALOGS[case]
    person.open_dialog(dialog, view, title)
    desktop = person.desktop
    doing: dict[str, Callable[..., object]] = {
        "keep": person.keep,
        "type": desktop.type,
        "key": desktop.key,
        "noted": person.noted,
        "user": person.user_does,
        "title": lambda name: person.seen("dialog", person.words[name]),
    }
    for what, *values in steps:
        doing[what](*values)
    person.noted("closed")


def test_quiet_status_leaves_the_keyboard(person: Person) -> None:
    """The window is above the one that the user types in, which Windows has in the foreground."""
    desktop = person.desktop
    desktop.launch("notepad")
    editor = eventually(lambda: desktop.window(kind="Notepad"), or_say="the editor")
    desktop.click(editor)
    person.open_dialog("quiet status", OLD, "status")
    person.keep("dialog-status-quiet")
    above = [each for each in desktop.windows() if each.kind in {"TkTopLevel", "Notepad"}]
    assert [each.kind for each in above] == ["TkTopLevel", "Notepad"]
    assert desktop.inside("windows", "foreground") == editor.handle
    assert above[0].box[:2] > (100, 100), "not in the middle of the screen"
    desktop.click(above[0])
    desktop.key("Escape")
    person.noted("closed")
    desktop.quiet("taskkill", "/IM", "notepad.exe", "/F")


def test_session_has_another_name_after_each_sign_in(person: Person) -> None:
    """The session's name changes at each sign-in, and only then."""
    code = "from agent.windows.session_watcher import logon_session; print(logon_session())"

    def name() -> str:
        done = person.desktop.python("-c", code)
        assert done.code == 0, done.output
        return done.output.strip()

    first = name()
    assert first
    assert name() == first
    person.desktop.sign_out()
    person.desktop.sign_in()
    assert name() != first
