"""A user at a Windows desktop, where a Windows Python shows parts of the client."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from installer.wine import windows_path
from tests.support.polling import eventually
from tests.support.wine import INSIDE, PYTHON, Desktop, Language, Window, ask


class Stage:
    """`ask` calls functions of `inside/stage.py`; other methods act and see as the user."""

    def __init__(self, desktop: Desktop, language: Language) -> None:
        self.desktop, self.language = desktop, language
        desktop.environment |= PYTHON
        program = (desktop._winpy / "python.exe", INSIDE / "stage.py")
        self._process = desktop.launch(*map(windows_path, program), pipe=subprocess.PIPE)

    def ask(self, name: str, *arguments: object) -> Any:
        return ask(self._process, name, *arguments)

    # --- what the user sees

    def windows(self, *kinds: str) -> list[Window]:
        """Return the visible windows of these classes, from front to back."""
        return [each for each in self.desktop.windows() if each.kind in kinds]

    def sees(self, kind: str, text: str = "") -> Window:
        """Wait for a window of class `kind` that contains `text`."""

        def look() -> Window | None:
            found = self.windows(kind)
            return next((each for each in found if text in "".join(each.texts)), None)

        return eventually(look, or_say=f"{kind} {text}", within_s=60)

    def reads(self, text: str) -> None:
        """Wait until a screen reader reads an element that begins with this text."""

        def look() -> bool:
            return any(each["name"].startswith(text) for each in self.ask("elements"))

        eventually(look, or_say=lambda: f"{text}: {self.ask('elements')}", within_s=60)

    def noted(self, line: str) -> None:
        """Wait for a line of the notes: a command, a toast's outcome, a screen reader's event."""
        eventually(lambda: line in self.ask("notes"), or_say=lambda: (line, self.ask("notes")))

    def keep(self, name: str) -> tuple[Path, tuple[int, int, int, int]]:
        """Save a screenshot of the dialog, once drawn. Return its file and the dialog's place."""
        self.desktop.xdotool("mousemove", "1", "1", "sleep", "0.5")  # over no button
        box = self.sees("TkTopLevel").box
        return self.desktop.screenshot(f"{name}-{self.language}", box=box), box

    # --- what the user does

    def open(self, dialog: str, view: dict[str, object], *program: str) -> None:
        self.ask("dialog", self.language, dialog, view, *program)

    def does(self, steps: Sequence[tuple[str, ...]]) -> None:
        """Do each step: a method here or of the desktop, or a function of `inside/stage.py`."""
        for name, *arguments in steps:
            mine = getattr(self, name, None) or getattr(self.desktop, name, None)
            if mine is None:
                self.ask(name, *arguments)
            else:
                mine(*arguments)

    def has_closed(self) -> None:
        eventually(lambda: self.ask("closed"), or_say="closed")
