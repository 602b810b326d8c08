"""Show the manual's toast until it is clicked on: `toast.py ASSETS LANGUAGE DAYS NOTES`."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from agent.core import wording
from agent.i18n import translation
from agent.ports import Notification, Topic
from agent.windows.toast import WindowsToaster
from tests.support.inside.look import notes


def main() -> None:
    """Show it until it is clicked on, for at most a minute."""
    assets, language, days, file = sys.argv[1:]
    write = notes(file)
    clicked = threading.Event()
    toaster = WindowsToaster(Path(assets) / "app.ico")
    title, text = wording.warning(int(days), translation(language))
    notification = Notification(Topic.PASSWORD, title, text, clicked.set)
    toaster.show(notification, on_done=lambda _: None)
    clicked.wait(60)
    toaster.close()
    write("clicked" if clicked.is_set() else "not clicked")


if __name__ == "__main__":
    main()
