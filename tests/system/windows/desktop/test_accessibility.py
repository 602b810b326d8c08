"""What a screen reader learns about the windows, read through Windows' accessibility (MSAA)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.dialogs.elements import Role, State
from installer.wine import windows_path
from installer.winpy.assemble import ROOT
from tests.support.polling import eventually
from tests.support.wine import INSIDE, OLD_VIEW, PYTHON, Desktop

USABLE, OFF = State.FOCUSABLE, State.FOCUSABLE | State.UNAVAILABLE
DEFAULT = USABLE | State.DEFAULT
SECRET = USABLE | State.PROTECTED
NEW_PC: dict[str, object] = {"state": "logged_out", "console_url": "https://console.example.com/"}
UPDATE, BY_CODE = "Update the stored password", "Log in by a code — coconowork client"
QUESTION = "Connect this PC as the user tanaka?"
WRONG = "The user name or the password is wrong. Nothing was changed."
WINDOWS: dict[str, tuple[dict[str, object], str, str, set[tuple[Role, str, str, State]], str]] = {
    # the window: what it shows, its title, a text in it, its controls, and which has the keyboard
    "password": (OLD_VIEW, f"{UPDATE} — coconowork client", "The old password ends in 30 days", {
        (Role.TEXT, "New password", "", SECRET),
        (Role.CHECK_BUTTON, "Show the password", "", USABLE),
        (Role.BUTTON, "Update", "", DEFAULT), (Role.BUTTON, "Cancel", "", USABLE)},
        "New password"),
    "log in": ({"state": "logged_out"}, "Log in to coconowork — coconowork client",
        "Enter the user that this PC waits for.", {
        (Role.TEXT, "Server", "gw.example.com", USABLE), (Role.TEXT, "User name", "", USABLE),
        (Role.TEXT, "Password", "", SECRET), (Role.CHECK_BUTTON, "Show the password", "", USABLE),
        (Role.BUTTON, "Use a code instead", "", USABLE),
        (Role.BUTTON, "Log in", "", DEFAULT), (Role.BUTTON, "Cancel", "", USABLE)},
        "User name"),
    "status": (OLD_VIEW | {"state": "connecting"}, "coconowork client", "Connecting…", {
        (Role.BUTTON, "Update the stored password…", "", USABLE),
        (Role.BUTTON, "Change the user or server…", "", USABLE),
        (Role.BUTTON, "Log out…", "", USABLE), (Role.BUTTON, "Reconnect", "", OFF),
        (Role.BUTTON, "Close", "", DEFAULT)}, "Close"),
    "log out": (OLD_VIEW, "coconowork client", "tanaka", {
        (Role.BUTTON, "Log out", "", USABLE), (Role.BUTTON, "Close", "", DEFAULT)}, "Close"),
    "about": (OLD_VIEW, "About coconowork client", "tanaka", {
        (Role.BUTTON, "Close", "", DEFAULT)}, "Close"),
    "code": (NEW_PC, BY_CODE, "BCDF-2345", {
        (Role.BUTTON, "Enter the password", "", USABLE), (Role.BUTTON, "Cancel", "", USABLE)},
        BY_CODE),
    "code typed": (NEW_PC, "Connect this PC? — coconowork client", QUESTION, {
        (Role.BUTTON, "Connect", "", USABLE), (Role.BUTTON, "Cancel", "", DEFAULT)}, "Cancel"),
    "code expired": (NEW_PC, BY_CODE, "The code has expired.", {
        (Role.BUTTON, "Get a new code", "", DEFAULT),
        (Role.BUTTON, "Enter the password", "", USABLE), (Role.BUTTON, "Cancel", "", USABLE)},
        "Get a new code"),
}  # fmt: skip
KINDS = {"status", "log out", "about"}
"""Windows that are opened by their own name; the others begin as the window for a password."""


class ScreenReader:
    """A user who reads windows with a screen reader."""

    def __init__(self, desktop: Desktop) -> None:
        self._desktop = desktop
        self._notes, self._events = desktop.prefix / "notes", desktop.prefix / "events"
        self._start("reader", windows_path(self._events))
        self.receives("watching")

    def _start(self, script: str, *arguments: str) -> None:
        python = windows_path(self._desktop._winpy / "pythonw.exe")
        self._desktop.launch(python, windows_path(INSIDE / f"{script}.py"), *arguments)

    def open(self, name: str) -> None:
        view, title, *_, focused = WINDOWS[name]
        kind = name if name in KINDS else "password"
        assets = windows_path(ROOT / "agent" / "assets")
        self._notes.write_text("")
        self._events.write_text("")
        self._start("dialog", assets, "en", kind, json.dumps(view), windows_path(self._notes))
        if name.startswith("code"):
            self.receives(f"focus {Role.TEXT:d} User name")
            self.press("Use a code instead")
            self.receives(f"focus {Role.DIALOG:d} {BY_CODE}")
            if event := name.removeprefix("code").strip():
                self.user_does(event)
        self.receives(f"focus {self._role(name, focused):d} {focused}")
        assert self.elements()[0]["name"] == title

    def user_does(self, what: str) -> None:
        """Let the code be `typed` elsewhere, or let it be `expired`."""
        self._notes.with_name(f"{self._notes.name}.{what}").touch()

    def _role(self, name: str, control: str) -> Role:
        controls = WINDOWS[name][3]
        return next((role for role, text, *_ in controls if text == control), Role.DIALOG)

    def elements(self) -> list[dict[str, Any]]:
        """Return what Windows tells of each handle of the window, the window itself first."""
        found: list[dict[str, Any]] = self._desktop.inside("reader")
        return found

    def receives(self, line: str) -> None:
        """Wait for an event: its name, the role and the name of the element."""
        eventually(lambda: line in self.events.splitlines(), or_say=line, within_s=60)

    @property
    def events(self) -> str:
        return self._events.read_text("utf-8") if self._events.exists() else ""

    def type(self, text: str) -> None:
        self._desktop.type(text)

    def press(self, name: str) -> None:
        self._desktop.quiet_python("reader", "press", name)

    def has_closed(self) -> None:
        eventually(lambda: "closed" in self._notes.read_text("utf-8"), or_say="closed")


@pytest.fixture(scope="module")
def reader(desktop: Desktop) -> ScreenReader:
    desktop.environment |= PYTHON
    return ScreenReader(desktop)


@pytest.mark.parametrize("name", WINDOWS)
def test_every_control_has_name_role_state(reader: ScreenReader, name: str) -> None:
    """Each window says what is in it and what has the keyboard; a screen reader can close it."""
    reader.open(name)
    _, _, text, controls, focused = WINDOWS[name]
    window, *elements = reader.elements()
    assert (window["role"], window["focus"]) == (Role.DIALOG, focused)
    found = {
        (each["role"], each["name"], each["value"], State(each["state"]) & ~State.FOCUSED)
        for each in elements
        if each["role"] in {Role.TEXT, Role.BUTTON, Role.CHECK_BUTTON}
    }
    assert found == controls
    named = [each for each in (window, *elements) if each["name"]]
    assert [each["name"] for each in named if each["state"] & State.FOCUSED] == [focused]
    kind = Role.ALERT if name == "code expired" else Role.STATIC_TEXT
    assert (kind, text) in {(each["role"], each["name"]) for each in elements}
    reader.press("Cancel" if "Cancel" in str(controls) else "Close")
    reader.has_closed()


def test_code_is_read_out(reader: ScreenReader) -> None:
    """The code with its words is announced, then the question, then the success."""
    reader.open("code")
    reader.receives(f"news {Role.STATIC_TEXT:d} BCDF-2345")
    reader.user_does("typed")
    reader.receives(f"news {Role.STATIC_TEXT:d} {QUESTION}")
    reader.press("Connect")
    reader.receives(f"news {Role.STATIC_TEXT:d} You are logged in")
    reader.receives(f"focus {Role.BUTTON:d} Close")
    reader.press("Close")
    reader.has_closed()


def test_error_and_success_are_announced(reader: ScreenReader) -> None:
    """Both are read out, and the password is nowhere, not even while the window shows it."""
    reader.open("password")
    reader.press("Show the password")
    reader.receives(f"state {Role.CHECK_BUTTON:d} Show the password")
    reader.type("Secret-42")
    assert "Secret-42" not in json.dumps(reader.elements())
    reader.press("Update")
    reader.receives(f"alert {Role.ALERT:d} {WRONG}")
    reader.receives(f"focus {Role.TEXT:d} New password")
    reader.type("New-Pass1")
    reader.press("Update")
    reader.receives(f"news {Role.STATIC_TEXT:d} The stored password has been updated")
    reader.receives(f"focus {Role.BUTTON:d} Close")
    assert not {"Secret-42", "New-Pass1"} & set(reader.events.split())
    reader.press("Close")
    reader.has_closed()
