"""The tray on X11: real icon windows in a real tray of the tests' own."""

from __future__ import annotations

import gettext
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from agent.core.state import State
from agent.core.view import Command, View
from agent.linux.tray_terminal import TerminalTray
from agent.ports import ToastError
from agent.tray import TrayError, icon_tray, open_tray
from tests.support import x11
from tests.support.places import ROOT
from tests.support.x11 import PAPER, SystemTray, until, xdotool

ASSETS = ROOT / "agent" / "assets"
ENGLISH = gettext.NullTranslations()
GREEN, RED, AMBER = (0x1C, 0x8A, 0x3C), (0xD1, 0x30, 0x25), (0xC2, 0x74, 0x00)

pytestmark = pytest.mark.display


@pytest.fixture(scope="module", autouse=True)
def display() -> Iterator[None]:
    """Importing pystray opens the display, so all tests share one."""
    with x11.screen() as name, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISPLAY", name)
        patch.setenv("PYSTRAY_BACKEND", "xorg")
        yield


@pytest.fixture
def panel() -> Iterator[SystemTray]:
    made = SystemTray()
    yield made
    made.close()


class Running:
    """A tray whose loop runs on a thread, and what was picked."""

    def __init__(self, translation: gettext.NullTranslations = ENGLISH) -> None:
        self.tray: Any = icon_tray(ASSETS, translation)
        self.picked: list[Command] = []
        self.tray.show(View(State.STANDBY))
        self.thread = threading.Thread(target=self.tray.run, args=(self.picked.append,))

    def end(self) -> None:
        self.tray.stop()
        if self.thread.ident is None:
            self.thread.start()
        self.thread.join(x11.WAIT_S)
        assert not self.thread.is_alive()


@pytest.fixture
def running() -> Iterator[Running]:
    made = Running()
    made.thread.start()
    yield made
    made.end()


def pixels(panel: SystemTray, colour: tuple[int, int, int]) -> int:
    """How many pixels of the icon are of about that colour."""
    data = panel.picture().tobytes()
    seen = [data[at : at + 3] for at in range(0, len(data), 3)]
    return len(
        [1 for pixel in seen if sum(abs(a - b) for a, b in zip(pixel, colour, strict=True)) < 24]
    )


def test_shows_the_state_by_picture(panel: SystemTray, running: Running) -> None:
    """A change of state is seen; where the picture is transparent, the panel shines through."""
    until(lambda: pixels(panel, GREEN) > 100)
    assert panel.picture().getpixel((0, 0)) == PAPER
    running.tray.show(View(State.STANDBY_OLD_PASSWORD, days_left=3))
    until(lambda: pixels(panel, AMBER) > 100)
    running.tray.show(View(State.NEEDS_PASSWORD))
    until(lambda: pixels(panel, RED) > 100)
    assert pixels(panel, GREEN) == 0


def test_docks_in_a_tray_that_comes_late(running: Running) -> None:
    """At sign-in the program may be there before the panel."""
    panel = SystemTray()
    try:
        until(lambda: pixels(panel, GREEN) > 100)
    finally:
        panel.close()


def test_comes_back_when_the_panel_restarts(running: Running) -> None:
    """pystray's loop ends with the panel that it was in."""
    for _ in range(2):
        panel = SystemTray()
        until(lambda: pixels(panel, GREEN) > 100)  # noqa: B023 - waited for in this turn
        panel.close()


def test_title_may_be_japanese(panel: SystemTray) -> None:
    """pystray writes it as Latin-1, and raises."""

    class Japanese(gettext.NullTranslations):
        def gettext(self, message: str) -> str:
            return "待ち受け中"

    made = Running(Japanese())
    made.thread.start()
    try:
        until(lambda: panel.icons and "待ち受け中" in panel.name())
    finally:
        made.end()


def test_click_is_the_default_command(panel: SystemTray, running: Running) -> None:
    """There is no menu on plain X11, so a click has to do."""
    until(lambda: pixels(panel, GREEN) > 100)
    xdotool("mousemove", "12", "12", "click", "1")
    until(lambda: running.picked == [Command.STATUS])
    running.tray.show(View(State.LOGGED_OUT))
    until(lambda: pixels(panel, RED) > 100)
    xdotool("mousemove", "12", "12", "click", "1")
    until(lambda: running.picked == [Command.STATUS, Command.UPDATE_PASSWORD])


def test_stop_before_run_is_not_lost() -> None:
    """The client may end while the tray is being made."""
    made = Running()
    made.tray.stop()
    made.end()


def test_ends_when_the_display_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client learns that nobody can see it, instead of spinning."""
    with x11.screen() as name:
        monkeypatch.setenv("DISPLAY", name)
        made = Running()
        errors: list[Exception] = []

        def run() -> None:
            try:
                made.tray.run(made.picked.append)
            except TrayError as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        until(lambda: made.tray._icon is not None)
    thread.join(x11.WAIT_S)
    assert not thread.is_alive()
    assert len(errors) == 1


def test_has_no_balloons(running: Running) -> None:
    """Whoever warns learns that nobody saw it."""
    with pytest.raises(ToastError):
        running.tray.balloon("title", "text")


def test_without_display_it_is_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The demo runs on a server too."""
    import sys

    monkeypatch.delenv("DISPLAY")
    with pytest.raises(TrayError):
        icon_tray(ASSETS, ENGLISH)
    assert isinstance(open_tray(ASSETS, ENGLISH, sys.stdout), TerminalTray)
