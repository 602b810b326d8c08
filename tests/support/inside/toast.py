"""The toast of the manual, until it is clicked on: `toast.py ASSETS LANGUAGE DAYS NOTES`."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from agent.core import wording
from agent.i18n import translation
from agent.windows.toast import WindowsToaster
from tests.support.inside.look import watch


def main() -> None:
    """Show it until it is clicked on, or the test ends."""
    assets, language, days, notes = sys.argv[1:]

    def write(line: str) -> None:
        with Path(notes).open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    watch(write)
    clicked = threading.Event()
    toaster = WindowsToaster(Path(assets) / "app.ico")
    title, text = wording.warning(int(days), translation(language))
    toaster.show(title, text, on_done=lambda _: None, on_click=clicked.set)
    clicked.wait(60)
    toaster.close()
    write("clicked" if clicked.is_set() else "not clicked")


if __name__ == "__main__":
    main()
