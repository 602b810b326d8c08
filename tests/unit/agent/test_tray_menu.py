"""What the menu offers in which state, and the pictures that go with it."""

from __future__ import annotations

import gettext
from itertools import combinations

import pytest
from PIL import Image
from PIL.IcoImagePlugin import IcoImageFile

from agent.core.failure import Reason
from agent.core.state import State
from agent.core.view import NUMBERED_DAYS, Command, Icon, View
from agent.tray_menu import Entry, default_command, menu, summary
from installer import pictures
from protocol.messages import Release
from tests.support.contrast import contrast
from tests.support.places import ROOT

ASSETS = ROOT / "agent" / "assets"
ENGLISH = gettext.NullTranslations()


def entries(view: View) -> dict[str, Entry]:
    """Return the menu by its texts."""
    return {entry.text: entry for entry in menu(view, ENGLISH)}


def test_whole_menu_on_an_old_password() -> None:
    """The order in which it is seen."""
    view = View(
        State.STANDBY_OLD_PASSWORD, days_left=1, console_url="https://c.example", autostart=True
    )
    assert [entry.text for entry in menu(view, ENGLISH)] == [
        "Waiting for connections (old password)",
        "The old password ends in 1 day",
        "",
        "Update the stored password…",
        "Change the user or server…",
        "Log out…",
        "Reconnect",
        "Open the management console",
        "",
        "Start at sign-in",
        "Language",
        "Show the log",
        "Save diagnostics…",
        "About",
        "",
        "Quit",
    ]


def test_newer_version_can_be_downloaded() -> None:
    """A newer version is a line of the menu that opens its download."""
    newer = Release(version="1.2", url="https://example.com/setup.exe")
    entry = entries(View(State.STANDBY, newer=newer))["A newer version is available: 1.2"]
    assert (entry.command, entry.enabled) == (Command.DOWNLOAD, True)


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_menu_with_one_default(state: State) -> None:
    """A click on the icon has to mean something, always."""
    defaults = [entry for entry in menu(View(state), ENGLISH) if entry.default]
    assert [entry.command for entry in defaults] == [default_command(View(state))]
    assert defaults[0].enabled


def test_policy_can_take_quit_away() -> None:
    """An organisation may want it to run always."""
    assert "Quit" not in entries(View(State.STANDBY, allow_quit=False))
    assert "Quit" in entries(View(State.STANDBY))


def test_what_cannot_be_done_is_grey() -> None:
    """Entries are grey without a console address, a user, or a choice of autostart."""
    fixed = frozenset({"autostart", "language"})
    shown = entries(View(State.LOGGED_OUT, autostart=True, fixed=fixed))
    for text in ("Open the management console", "Start at sign-in", "Reconnect"):
        assert not shown[text].enabled
    assert shown["Start at sign-in"].checked
    assert not any(each.enabled for each in shown["Language"].children)
    assert shown["Log in…"].command is Command.UPDATE_PASSWORD


@pytest.mark.parametrize(
    ("view", "change", "log_out"),
    [
        (View(State.STANDBY), True, True),
        (View(State.NEEDS_PASSWORD, fixed=frozenset({"server"})), True, True),
        (View(State.RETRYING, fixed=frozenset({"server", "user"})), False, True),
        (View(State.LOGGED_OUT), False, False),
    ],
)
def test_another_account_and_logging_out(view: View, *, change: bool, log_out: bool) -> None:
    """A logged-in user may log out, and change what policy does not set."""
    shown = entries(view)
    assert shown["Change the user or server…"].enabled is change
    assert shown["Log out…"].enabled is log_out


def test_language_in_use_is_marked() -> None:
    """One of the three languages in the menu is marked."""
    languages = entries(View(State.STANDBY, language="ja"))["Language"].children
    assert [(entry.text, entry.checked) for entry in languages] == [
        ("Same as the system", False),
        ("日本語", True),
        ("English", False),
    ]


def test_trouble_is_named() -> None:
    """Tooltip and menu say what is the matter."""
    view = View(State.RETRYING, reason=Reason.NO_SUCH_HOST)
    assert summary(view, ENGLISH) == ["Not connected", "The server's name is not known."]


# --- the pictures


NAMES = [*(icon.value for icon in Icon), *(f"days-{days}" for days in range(NUMBERED_DAYS + 1))]


@pytest.mark.parametrize("name", NAMES)
def test_picture_is_seen_on_light_and_dark_task_bars(name: str) -> None:
    """3:1 is what WCAG asks of graphics; white marks inside it included."""
    colours = pictures.render(name, 64).getcolors(64 * 64) or []
    opaque = [(n, c[:3]) for n, c in colours if isinstance(c, tuple) and c[3] == 255]
    _, main = max((n, c) for n, c in opaque if c != (255, 255, 255))
    for beside in ("#f3f3f3", "#1c1c1c", "#101010", "#ffffff"):
        assert contrast(f"#{bytes(main).hex()}", beside) >= 3


def strokes(name: str) -> bytes:
    """Return a digit's white pixels at 16 px. Each pixel is white or not: it has no soft edge."""
    red, _, blue, alpha = pictures.render(name, 16).crop((2, 2, 14, 14)).split()
    assert set(alpha.tobytes()) == {255}
    assert len(set(red.tobytes())) == 2
    return blue.tobytes()


@pytest.mark.parametrize(("one", "other"), list(combinations(NAMES, 2)))
def test_pictures_differ_in_shape(one: str, other: str) -> None:
    """Pictures differ in shape at 16 px, also for users who cannot tell red from green."""
    if one.startswith("days-"):
        shapes, least = [strokes(one), strokes(other)], 6
    else:
        outlines = [
            pictures.render(name, 64).resize((16, 16), Image.Resampling.BOX)
            for name in (one, other)
        ]
        shapes, least = [outline.getchannel("A").tobytes() for outline in outlines], 30
    assert sum((a > 127) != (b > 127) for a, b in zip(*shapes, strict=True)) >= least


@pytest.mark.parametrize("name", NAMES)
def test_icon_file_has_every_size_as_drawn(name: str) -> None:
    """The files are what `installer/pictures.py` draws, one picture for each scale of Windows."""
    with IcoImageFile(ASSETS / f"{name}.ico") as file:
        assert {size for size, _ in file.info["sizes"]} == set(pictures.ICO_SIZES)
        for size in pictures.ICO_SIZES:
            drawn = file.ico.getimage((size, size)).convert("RGBA")
            assert drawn.tobytes() == pictures.render(name, size).tobytes()
