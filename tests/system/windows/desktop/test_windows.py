"""Tray, toast and windows, by mouse, keyboard, screen reader, and as screenshots."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.dialogs.elements import Role, State
from tests.support.polling import eventually
from tests.support.stage import Stage
from tests.support.wine import OLD_VIEW, SCREEN, signed_in

CONSOLE = "https://console.example.com/"
OLD = OLD_VIEW | {"console_url": CONSOLE, "autostart": True}
NEW_PC: dict[str, object] = {"state": "logged_out", "console_url": CONSOLE}
ICON = SCREEN[0] - 10, SCREEN[1] - 10
CORNER = (SCREEN[0] - 820, SCREEN[1] - 360, *SCREEN)
"""`ICON`: the middle of the tray's only icon. `CORNER`: the screen's lower right part."""
DAYS_LEFT = {30: {"ja": "30日後", "en": "in 30 days"}, 0: {"ja": "本日", "en": "today"}}

USABLE, OFF = State.FOCUSABLE, State.FOCUSABLE | State.UNAVAILABLE
DEFAULT = USABLE | State.DEFAULT
SECRET = USABLE | State.PROTECTED
UPDATE, BY_CODE = "Update the stored password", "Log in by a code — coconowork client"
QUESTION = "Connect this PC as the user tanaka?"
WRONG = "The user name or the password is wrong. Nothing was changed."
FORM = {
    (Role.TEXT, "New password", "", SECRET), (Role.BUTTON, "Update", "", DEFAULT),
    (Role.CHECK_BUTTON, "Show the password", "", USABLE), (Role.BUTTON, "Cancel", "", USABLE)
}  # fmt: skip
ONLY_CLOSE = {(Role.BUTTON, "Close", "", DEFAULT)}
WINDOWS: dict[str, tuple[str, str, set[tuple[Role, str, str, State]], str]] = {
    # the window: its title, a text in it, its controls, and the control with the focus
    "update": (f"{UPDATE} — coconowork client", "The old password ends in 30 days", FORM,
        "New password"),
    "update-wrong": (f"{UPDATE} — coconowork client", WRONG, FORM, "New password"),
    "update-done": (f"{UPDATE} — coconowork client", "The stored password has been updated",
        ONLY_CLOSE, "Close"),
    "log-in": ("Log in to coconowork — coconowork client",
        "Enter the user that this PC waits for.", {
        (Role.TEXT, "Server", "gw.example.com", USABLE), (Role.TEXT, "User name", "", USABLE),
        (Role.TEXT, "Password", "", SECRET), (Role.CHECK_BUTTON, "Show the password", "", USABLE),
        (Role.BUTTON, "Use a code instead", "", USABLE),
        (Role.BUTTON, "Log in", "", DEFAULT), (Role.BUTTON, "Cancel", "", USABLE)},
        "User name"),
    "code": (BY_CODE, "BCDF-2345", {
        (Role.BUTTON, "Enter the password", "", USABLE), (Role.BUTTON, "Cancel", "", USABLE)},
        BY_CODE),
    "code-expired": (BY_CODE, "The code has expired.", {
        (Role.BUTTON, "Get a new code", "", DEFAULT),
        (Role.BUTTON, "Enter the password", "", USABLE), (Role.BUTTON, "Cancel", "", USABLE)},
        "Get a new code"),
    "code-question": ("Connect this PC? — coconowork client", QUESTION, {
        (Role.BUTTON, "Connect", "", USABLE), (Role.BUTTON, "Cancel", "", DEFAULT)}, "Cancel"),
    "log-in-done": (BY_CODE, "You are logged in", ONLY_CLOSE, "Close"),
    "status-old": ("coconowork client", "The old password ends in 30 days", {
        (Role.BUTTON, "Update the stored password…", "", USABLE),
        (Role.BUTTON, "Change the user or server…", "", USABLE),
        (Role.BUTTON, "Log out…", "", USABLE), (Role.BUTTON, "Reconnect", "", USABLE),
        (Role.BUTTON, "Close", "", DEFAULT)}, "Close"),
    "status-connecting": ("coconowork client", "Connecting…", {
        (Role.BUTTON, "Update the stored password…", "", USABLE),
        (Role.BUTTON, "Change the user or server…", "", USABLE),
        (Role.BUTTON, "Log out…", "", USABLE), (Role.BUTTON, "Reconnect", "", OFF),
        (Role.BUTTON, "Close", "", DEFAULT)}, "Close"),
    "log-out": ("coconowork client", "tanaka", {
        (Role.BUTTON, "Log out", "", USABLE), (Role.BUTTON, "Close", "", DEFAULT)}, "Close"),
    "about": ("About coconowork client", "tanaka", ONLY_CLOSE, "Close"),
}  # fmt: skip
ERRORS = {"update-wrong", "code-expired"}
BOTH = ("ja", "en")
Steps = list[tuple[str, ...]]
PROCEDURES: dict[str, tuple[tuple[str, ...], str, dict[str, object], Steps]] = {
    # the languages, the dialog, what it shows, and the steps of its user
    "a wrong password, then the right one": (BOTH, "password", OLD, [
        ("shows", "update"), ("key", "alt+h"),
        ("is_told", f"state {Role.CHECK_BUTTON:d} Show the password"),
        ("type", "Secret-42"), ("hides", "Secret-42"), ("key", "alt+h", "Return"),
        ("is_told", f"alert {Role.ALERT:d} {WRONG}"), ("shows", "update-wrong"),
        ("type", "New-Pass1"), ("key", "Return"),
        ("is_told", f"news {Role.STATIC_TEXT:d} The stored password has been updated"),
        ("is_told", f"focus {Role.BUTTON:d} Close"), ("shows", "update-done"),
        ("hides", "New-Pass1"), ("hides", "Secret-42"), ("key", "Return")]),
    "a code that expires, and another one": (BOTH, "password", NEW_PC, [
        ("shows", "log-in"), ("key", *["Tab"] * 3, "space"), ("code", "shown"),
        ("is_told", f"news {Role.STATIC_TEXT:d} BCDF-2345"), ("shows", "code"),
        ("code", "expired"), ("shows", "code-expired"), ("key", "Return"), ("code", "shown"),
        ("shows", "code"), ("code", "typed"),
        ("is_told", f"news {Role.STATIC_TEXT:d} {QUESTION}"), ("shows", "code-question"),
        ("key", "shift+Tab", "space"),
        ("is_told", f"news {Role.STATIC_TEXT:d} You are logged in"), ("shows", "log-in-done"),
        ("key", "Escape")]),
    "an old password": (BOTH, "status", OLD, [
        ("shows", "status-old"), ("connect",), ("shows", "status-connecting"),
        ("key", "alt+u"), ("noted", "update_password"), ("key", "Escape")]),
    "a user's way out, by a screen reader": (("en",), "log out", OLD, [
        ("shows", "log-out"), ("press", "Log out"), ("noted", "log_out_now"),
        ("press", "Close")]),
    "about": (("en",), "about", OLD, [("shows", "about"), ("press", "Close")]),
}  # fmt: skip


class Person(Stage):
    """A user who sees the windows and uses a screen reader."""

    def shows(self, name: str) -> None:
        """Wait until a screen reader reads the whole window; in Japanese, only its shape."""
        title, text, controls, focused = WINDOWS[name]
        words = self.language == "en"

        def found() -> object:
            window, *elements = self.ask("elements") or [{"role": None}]
            if window["role"] != Role.DIALOG or (words and window["name"] != title):
                return None
            named = [each for each in (window, *elements) if each["name"]]
            has_keyboard = [each["name"] for each in named if each["state"] & State.FOCUSED]
            kinds = {Role.TEXT, Role.BUTTON, Role.CHECK_BUTTON}
            there = {
                (each["role"], each["name"], each["value"], State(each["state"]) & ~State.FOCUSED)
                for each in elements
                if each["role"] in kinds
            }
            if not words:
                texts = "".join(each["name"] for each in named)
                return _shape(there) == _shape(controls) and len(has_keyboard) == 1 and texts
            said = {(each["role"], " ".join(each["name"].split())) for each in elements}
            role = Role.ALERT if name in ERRORS else Role.STATIC_TEXT
            return (
                there == controls
                and has_keyboard == [focused] == [window["focus"]]
                and (role, text) in said
            )

        eventually(found, or_say=lambda: f"{name}: {self.ask('elements')}", within_s=60)
        self.keep(f"dialog-{name}")

    def is_told(self, line: str) -> None:
        """Wait until a screen reader gets this event."""
        if self.language == "en":
            self.noted(line)

    def hides(self, secret: str) -> None:
        """Assert that a screen reader does not get `secret`."""
        told = json.dumps([self.ask("elements"), self.ask("notes")])
        assert secret not in told


def _shape(controls: set[tuple[Role, str, str, State]]) -> list[tuple[int, str, int]]:
    return sorted((int(role), value, int(state)) for role, _, value, state in controls)


@pytest.fixture(scope="module", params=BOTH)
def person(
    winpy: Path,
    display: str,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Person]:
    """Yield a user of a new Windows in the parameter's language."""
    with signed_in(tmp_path_factory.mktemp("pc"), winpy, display, request.param) as desktop:
        yield Person(desktop, request.param)


@pytest.mark.parametrize("what", PROCEDURES)
def test_window_by_keyboard(person: Person, what: str) -> None:
    """Each window names its content and focus, works by keyboard, and closes."""
    languages, dialog, view, steps = PROCEDURES[what]
    if person.language in languages:
        person.open(dialog, view)
        person.does(steps)
        person.has_closed()
        typed = [password for *_, password in person.ask("submitted")]
        assert typed == [step[1] for step in steps if step[0] == "type"]


def test_menu_by_mouse(person: Person) -> None:
    """Tooltip and menu open by mouse, and a click on the password's line is reported."""
    view = {name: value for name, value in OLD.items() if name != "valid_until"}
    person.ask("tray", person.language, view)
    desktop, (x, y) = person.desktop, ICON

    def tooltip() -> bool:
        desktop.xdotool("mousemove", str(x - 200), str(y - 300), "mousemove", str(x), str(y))
        desktop.xdotool("sleep", "1")
        tips = person.windows("tooltips_class32")
        return any(DAYS_LEFT[30][person.language] in each.text for each in tips)

    eventually(tooltip, or_say="the tooltip")
    desktop.screenshot(f"tray-tooltip-{person.language}", box=CORNER)
    desktop.click(ICON, button=3)
    left, top, _, _ = person.sees("#32768").box
    desktop.xdotool("sleep", "0.5")
    desktop.screenshot(f"tray-menu-{person.language}", box=CORNER)
    # The state, the days left, a separator, then the wanted entry.
    desktop.click((left + 60, top + 65))
    person.noted("update_password")
    desktop.click(ICON)
    person.noted("status")
    desktop.click(ICON, button=3)
    left, _, _, bottom = person.sees("#32768").box
    desktop.click((left + 60, bottom - 12))
    person.noted("quit")


@pytest.mark.parametrize("days", DAYS_LEFT)
def test_toast(person: Person, days: int) -> None:
    """The warning is on the screen, and a click on its icon is reported."""
    person.ask("toast", person.language, days)
    person.sees("tooltips_class32", DAYS_LEFT[days][person.language])
    person.noted("shown")
    person.desktop.screenshot(f"toast-{days}-{person.language}", box=CORNER)
    person.desktop.click(ICON)
    person.noted("clicked")


def test_quiet_status_leaves_the_keyboard(person: Person) -> None:
    """A quiet status window is on top, but the user's window keeps focus and foreground."""
    desktop = person.desktop
    desktop.launch("notepad")
    editor = person.sees("Notepad")
    desktop.click(editor)
    eventually(lambda: desktop.ask("foreground") == editor.handle)
    person.open("quiet status", OLD)
    above = person.sees("TkTopLevel")
    person.keep("dialog-status-quiet")
    order = [each.kind for each in person.windows("TkTopLevel", "Notepad")]
    assert order == ["TkTopLevel", "Notepad"]
    assert desktop.ask("foreground") == editor.handle
    desktop.click(above)
    desktop.key("Escape")
    person.has_closed()
    desktop.quiet("taskkill", "/IM", "notepad.exe", "/F")
