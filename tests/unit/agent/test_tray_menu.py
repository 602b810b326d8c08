"""The tray's menu in each state."""

from __future__ import annotations

import gettext

import pytest

from agent.core.failure import Reason
from agent.core.state import State
from agent.core.view import Command, View
from agent.tray_menu import Entry, default_command, menu, summary
from protocol.messages import Release

ENGLISH = gettext.NullTranslations()


def entries(view: View) -> dict[str, Entry]:
    """Return the entries of the menu, by text."""
    return {entry.text: entry for entry in menu(view, ENGLISH)}


def test_whole_menu_on_an_old_password() -> None:
    """The menu on an old password has exactly these entries, in this order."""
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
    """A newer version has an entry that opens its download."""
    newer = Release(version="1.2", url="https://example.com/setup.exe")
    entry = entries(View(State.STANDBY, newer=newer))["A newer version is available: 1.2"]
    assert (entry.command, entry.enabled) == (Command.DOWNLOAD, True)


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_menu_with_one_default(state: State) -> None:
    """In every state exactly one entry is the default, for a click on the icon."""
    (default,) = [entry for entry in menu(View(state), ENGLISH) if entry.default]
    assert (default.command, default.enabled) == (default_command(View(state)), True)


FIXED = frozenset({"server", "user", "autostart", "language"})


@pytest.mark.parametrize(
    ("view", "grey"),
    [
        (View(State.STANDBY, console_url="https://c.example"), ""),
        (View(State.NEEDS_PASSWORD, fixed=frozenset({"server"})), "Reconnect Open"),
        (View(State.RETRYING, fixed=FIXED), "Change Open Start Same 日本語 English"),
        (View(State.LOGGED_OUT, allow_quit=False), "Change Log Reconnect Open"),
    ],
)
def test_what_cannot_be_done_is_grey(view: View, grey: str) -> None:
    """Entries without console address or user, or fixed by policy, are grey; Quit can be hidden."""
    shown = entries(view)
    lines = [*shown.values(), *shown["Language"].children]
    unusable = [each for each in lines if each.command and not each.enabled]
    assert [each.text.split()[0].rstrip("…") for each in unusable] == grey.split()
    assert ("Quit" in shown) is view.allow_quit
    assert ("Log in…" in shown) is (view.state is State.LOGGED_OUT)


def test_what_is_set_is_marked() -> None:
    """The start at sign-in has a tick, and one of the three languages is marked."""
    shown = entries(View(State.STANDBY, language="ja", autostart=True))
    assert shown["Start at sign-in"].checked
    assert [(each.text, each.checked) for each in shown["Language"].children] == [
        ("Same as the system", False),
        ("日本語", True),
        ("English", False),
    ]


def test_trouble_is_named() -> None:
    """Tooltip and menu say what is wrong."""
    view = View(State.RETRYING, reason=Reason.NO_SUCH_HOST)
    assert summary(view, ENGLISH) == ["Not connected", "The server's name is not known."]
