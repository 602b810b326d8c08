"""The entry "Start at sign-in" of the menu, and policies about it."""

from __future__ import annotations

from gettext import NullTranslations
from pathlib import Path
from typing import Any

import pytest

from agent import desktop, logs
from agent.core.state import State
from agent.core.view import View
from agent.menu_actions import MenuActions
from agent.paths import find_paths
from agent.settings import Settings
from tests.support.fakes import fake_adapters


class Switch:
    """A fake switch 'start at sign-in'; None: an administrator has set it for all users."""

    def __init__(self, *, on: bool | None) -> None:
        self.on = on

    def enabled(self) -> bool | None:
        return self.on

    def enable(self) -> None:
        self.on = True

    def disable(self) -> None:
        self.on = False


def policy(*, autostart: bool) -> Settings:
    return Settings(autostart=autostart, enforced=frozenset({"autostart"}))


@pytest.mark.parametrize(
    ("switch", "settings", "ticked", "is_fixed"),
    [
        (Switch(on=False), Settings(), True, False),
        (Switch(on=True), Settings(), False, False),
        (Switch(on=None), Settings(), True, True),
        (None, Settings(), False, True),
        (Switch(on=None), policy(autostart=False), False, True),
        (Switch(on=True), policy(autostart=True), True, True),
    ],
)
def test_the_tick_is_read_fresh_and_policy_fixes_it(
    tmp_path: Path, switch: Switch | None, settings: Settings, *, ticked: bool, is_fixed: bool
) -> None:
    """The tick is read from Windows each time; it is grey if the user cannot change it."""
    app: Any = None  # used for outcomes only
    paths = find_paths({"COCONOWORK_HOME": str(tmp_path)})
    actions = MenuActions(app, settings, paths, switch, fake_adapters())
    if switch is not None and switch.on is not None:
        switch.on = not switch.on  # as by the Task Manager
    view = actions.with_settings(View(State.STANDBY))
    assert (view.autostart, "autostart" in view.fixed) == (ticked, is_fixed)


def test_autostart_0_ends_what_windows_has_started(tmp_path: Path) -> None:
    """With `autostart` off, a start by Windows ends at once, and the log names the setting."""
    paths = find_paths({"COCONOWORK_HOME": str(tmp_path)})
    settings = Settings(autostart=False, origins={"autostart": r"HKLM\…\Autostart"})
    try:
        desktop.run(settings, paths, NullTranslations(), at_sign_in=True)
    finally:
        logs.tear_down()
    assert r"not started at sign-in: HKLM\…\Autostart" in paths.log_file.read_text("utf-8")
